"""CLIP-GS: a transformer that gives a splat a vector in the space of a CLIP teacher, learnt from a dataset's shards."""
