"""WHAT is known: the store, the source list, the log of records, and the dataset contract."""
