"""Writes one figure, then fails."""

from tests.gpu.part import read_arguments

part = read_arguments()
part.figures.put(first=1)
raise SystemExit("the second figure cannot be had")
