"""Writes its figure and counts how often it was run."""

from tests.gpu.part import read_arguments

part = read_arguments()
counter = part.kit / "runs of good"
counter.write_text(counter.read_text() + "x" if counter.exists() else "x")
part.figures.put(answer=42)
