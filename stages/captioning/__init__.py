"""Write captions: engine.py says what an engine is, engines/ has one file for each; the other modules serve them."""
