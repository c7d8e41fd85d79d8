"""What makes hostile files, one file for each kind of format; all are in the table of `tests/fuzz/cases.py`."""
