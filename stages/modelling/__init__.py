"""Procedural modelling behind the demo corpus: solids, paints, categories, captions, and the GLB they end in."""
