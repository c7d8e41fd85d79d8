"""Compute vectors with the teacher: the model, batches over rows, and why it may fail."""
