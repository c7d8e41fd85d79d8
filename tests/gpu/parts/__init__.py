"""The parts of the run: each file is a program that measures one thing."""
