"""gsplat without a GPU: its own CUDA sources, as the package brings them, compiled as C++ and run on the CPU.

Headers of ours stand for CUDA's (include/), and gsplat's kernel launches become calls (translation.py). The module that
comes of it takes the place of gsplat's compiled part, so gsplat.rasterization works on tensors of the CPU. This proves
calls, shapes, layouts and gradients. It says nothing about speed, about what threads that run at the same time do to
each other, or about the coarser arithmetic that gsplat asks of a GPU.
"""
