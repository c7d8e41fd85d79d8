"""What trainings share: checkpoints, the history of figures, and the record from which they resume."""
