"""Zip and tar archives whose members are read in place."""
