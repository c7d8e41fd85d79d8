"""How the embedded models are made: renders of the demo corpus, a tokenizer, two training runs, figures and cards."""
