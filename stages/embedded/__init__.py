"""Small models of our own that know the demo corpus: a CLIP and a captioner, so that the product can be tried offline.

They are ordinary checkpoints of transformers, loaded like any other. `training` makes them from nothing.
"""

from pathlib import Path

CLIP, CAPTIONER = (Path(__file__).parent / name for name in ("clip", "captioner"))
