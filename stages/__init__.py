"""WHAT is done to a row. Each file here is a stage: ingest, render, fit, embed, caption, align, pack, in this order.

A folder named for a stage's work stands behind that stage: ingesting/, rendering/, fitting/, embedding/, captioning/,
packing/.
Stages share contract/ (what a stage is), artifacts/ (what they hand on), meshes/ (file formats) and common/.
No part of a build: clip_gs/ (the trainer), corpus/ (the demo's objects), embedded/ (small models that know them).
"""
