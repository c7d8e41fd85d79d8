"""What several stages use: checkpoints of models, results computed in advance, a progress bar, compiled functions."""
