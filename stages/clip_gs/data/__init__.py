"""What a training and an evaluation read from a dataset: rows, their order, and batches of tensors."""
