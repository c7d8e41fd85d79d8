"""Small models, trained on the demo corpus, with which the product can be tried offline.

A CLIP and a captioner are transformers checkpoints, loaded like any other; `training` makes them from scratch. A
CLIP-GS was trained on the CLIP's vectors by `make train-demo`.
"""

from pathlib import Path

CLIP, CAPTIONER, CLIP_GS = (Path(__file__).parent / name for name in ("clip", "captioner", "clip_gs"))
