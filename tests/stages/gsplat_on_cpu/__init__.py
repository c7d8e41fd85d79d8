"""Run gsplat without a GPU: the CUDA sources of its package are compiled as C++ and run on the CPU.

The headers in include/ replace CUDA's, and translation.py turns kernel launches into calls. The compiled module
replaces gsplat's own, so that gsplat.rasterization works on tensors of the CPU. This tests calls, shapes, layouts and
gradients. It does not test speed, races between threads, or the less exact arithmetic that gsplat uses on a GPU.
"""
