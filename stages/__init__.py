"""WHAT is done to a row: one file a stage, in the data's order ingest, render, fit, caption, pack."""
