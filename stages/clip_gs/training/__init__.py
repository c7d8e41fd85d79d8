"""The training: losses, optimisers, validation, history and checkpoints."""
