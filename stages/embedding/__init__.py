"""Compute vectors with the teacher: the model (teacher.py), and batches over rows (batches.py)."""
