"""What only a GPU can show: a kit that is made on any machine, and a run on the machine with the GPU.

kit.py      makes the kit: compiled kernels, missing packages, objects to fit, a dataset
machine.py  a copy of a bare GPU machine's Python, to compile for and to rehearse in
run.py      runs the parts one after the other, each within its budget
parts/      one file a part: what it measures
results.py  the figures as a table, and as the rows of docs/benchmarks.md
"""
