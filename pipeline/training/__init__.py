"""Run processes that train or evaluate together: on this machine, and under Ray Train."""
