"""The formats of mesh files: each has a file or a folder here, and a line in formats.py."""
