"""Make the demo corpus: corpus.py puts together what categories, shapes, paints and captions give, as GLB files."""
