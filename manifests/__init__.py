"""WHAT is known of a run: its store, its source list, its log of records, and the format of its dataset."""
