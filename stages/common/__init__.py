"""What several stages use: checkpoints of models, work done ahead, a progress bar."""
