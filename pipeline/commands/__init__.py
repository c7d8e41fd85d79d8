"""The commands of the command line: one file each, with its options and what it does."""
