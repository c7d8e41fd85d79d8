"""Mesh formats: each read into one Model."""
