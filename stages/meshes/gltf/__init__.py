"""glTF 2.0, as GLB or as JSON with files beside it."""
