"""What embed and align share: the teacher, and how the things of many rows are put through it together."""
