"""Parts for the tests of the run: one ends well, one fails, one never ends."""
