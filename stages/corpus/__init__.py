"""The demo corpus: solids, paints, categories, captions, and the GLB files they end in."""
