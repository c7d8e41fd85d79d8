"""Do it: schedule tasks, place workers on this machine or on a Ray cluster, and record the results."""
