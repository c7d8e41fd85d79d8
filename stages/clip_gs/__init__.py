"""CLIP-GS: a transformer that gives a splat a vector in the space of a CLIP teacher, trained on a dataset's shards."""
