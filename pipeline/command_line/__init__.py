"""How the command line is read: which commands there are, their options and settings, and their help."""
