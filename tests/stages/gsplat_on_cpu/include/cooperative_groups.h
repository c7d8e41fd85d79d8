// CUDA's groups of threads. A warp has one thread here: what it sums over its threads is that thread's value.
#pragma once

#include "cuda_runtime.h"

namespace cooperative_groups {

struct thread_block {
    static dim3 group_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
    static dim3 thread_index() { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
    static unsigned size() { return blockDim.count(); }
    static unsigned thread_rank() {
        return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    }
    static void sync() { __syncthreads(); }
};

struct grid_group {
    static unsigned long long thread_rank() {
        uint64_t block = blockIdx.x + uint64_t(gridDim.x) * (blockIdx.y + uint64_t(gridDim.y) * blockIdx.z);
        return block * thread_block::size() + thread_block::thread_rank();
    }
};

template <unsigned> struct thread_block_tile {
    static unsigned size() { return 1; }
    static unsigned thread_rank() { return 0; }
    static int any(int value) { return value != 0; }
};

inline thread_block this_thread_block() { return {}; }
inline grid_group this_grid() { return {}; }
template <unsigned Size> thread_block_tile<Size> tiled_partition(thread_block) { return {}; }
template <unsigned Size, class Label> thread_block_tile<Size> labeled_partition(thread_block_tile<Size> warp, Label) {
    return warp;
}

} // namespace cooperative_groups
