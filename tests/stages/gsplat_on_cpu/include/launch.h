// Kernel launches. Blocks run one after another; the threads of a block are fibers, which take turns on one CPU thread.
//
// A fiber runs until its thread ends or waits for the block. When all have done so, those that wait go on.
#pragma once

#include <c10/util/Exception.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

namespace gsplat_on_cpu {

class Processor {
  public:
    static Processor &here() {
        static thread_local Processor processor;
        return processor;
    }

    void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &launched) {
        gridDim = grid, blockDim = block, kernel = &launched;
        shared.resize(shared_bytes / sizeof(std::max_align_t) + 1);
        for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
            for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
                for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) run_block();
    }

    // Called by a thread of the kernel: waits for all others that have not ended. Returns the sum of their values.
    int wait(int value) {
        Fiber *self = running;
        arriving += value;
        self->waits = true;
        swapcontext(&self->context, &scheduler);
        set_thread(self->thread);
        return arrived;
    }

    void *shared_memory() { return shared.data(); }

  private:
    static constexpr size_t STACK_BYTES = 1 << 17;

    struct Fiber {
        ucontext_t context;
        std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
        unsigned thread = 0; // its rank in the block
        bool waits = false;
    };

    std::vector<std::unique_ptr<Fiber>> fibers; // kept from launch to launch
    std::vector<std::max_align_t> shared;
    const std::function<void()> *kernel = nullptr;
    ucontext_t scheduler;
    Fiber *running = nullptr;
    unsigned started = 0; // threads of the block
    int arriving = 0, arrived = 0;

    void run_block() {
        started = 0;
        bool waiting = false;
        do {
            arriving = 0;
            for (auto &fiber : fibers)
                if (fiber->waits) go_on(*fiber);
            for (size_t index = 0; started < blockDim.count(); ++index) {
                if (index == fibers.size()) fibers.push_back(make_fiber());
                go_on(*fibers[index]); // takes threads until one waits or none is left
            }
            arrived = arriving;
            waiting = false;
            for (auto &fiber : fibers) waiting |= fiber->waits;
        } while (waiting);
    }

    void go_on(Fiber &fiber) {
        fiber.waits = false;
        running = &fiber;
        swapcontext(&scheduler, &fiber.context);
    }

    static std::unique_ptr<Fiber> make_fiber() {
        auto fiber = std::make_unique<Fiber>();
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = fiber->stack.get();
        fiber->context.uc_stack.ss_size = STACK_BYTES;
        fiber->context.uc_link = nullptr;
        makecontext(&fiber->context, [] { here().run_threads(); }, 0);
        return fiber;
    }

    void run_threads() {
        Fiber *self = running;
        for (;;) {
            while (started < blockDim.count()) {
                set_thread(self->thread = started++);
                (*kernel)();
            }
            swapcontext(&self->context, &scheduler);
        }
    }

    static void set_thread(unsigned rank) {
        threadIdx = {rank % blockDim.x, rank / blockDim.x % blockDim.y, rank / blockDim.x / blockDim.y};
    }
};

// kernel<<<grid, block, shared_bytes, stream>>>(values...)
template <class Stream, class... Parameters, class... Values>
void launch(
    dim3 grid, dim3 block, int64_t shared_bytes, Stream, void (*kernel)(Parameters...), const Values &...values
) {
    TORCH_CHECK(grid.count() > 0 && block.count() > 0, "CUDA launches no empty grid and no empty block");
    TORCH_CHECK(grid.y < 65536 && grid.z < 65536, "a grid too large for CUDA");
    TORCH_CHECK(block.count() <= 1024 && block.z <= 64, "a block too large for CUDA");
    Processor::here().run(grid, block, shared_bytes, [&] { kernel(values...); });
}

} // namespace gsplat_on_cpu

inline void __syncthreads() { gsplat_on_cpu::Processor::here().wait(0); }
inline int __syncthreads_count(int value) { return gsplat_on_cpu::Processor::here().wait(value != 0); }
inline int __syncthreads_or(int value) { return __syncthreads_count(value) != 0; }
