"""Small models of our own that know the demo corpus, so that the product can be tried offline.

A CLIP and a captioner: ordinary checkpoints of transformers, loaded like any other; `training` makes them from nothing.
And a CLIP-GS that learnt from the CLIP's vectors: `make train-demo`.
"""

from pathlib import Path

CLIP, CAPTIONER, CLIP_GS = (Path(__file__).parent / name for name in ("clip", "captioner", "clip_gs"))
