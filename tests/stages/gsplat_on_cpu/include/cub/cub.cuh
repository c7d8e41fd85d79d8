// The parts of CUB that gsplat uses. Sorting is by the same bits of the keys, and keeps the order of equal ones.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "cooperative_groups.h"

namespace cub {

template <class T> struct DoubleBuffer {
    T *buffers[2];
    int selector = 0; // of the one that holds the values
    DoubleBuffer(T *current, T *alternate) : buffers{current, alternate} {}
    T *current() const { return buffers[selector]; }
    T *alternate() const { return buffers[1 - selector]; }
};

// Sorts [begin, end) into the alternate buffers.
template <class Key, class Value>
void sort_range(
    const DoubleBuffer<Key> &keys, const DoubleBuffer<Value> &values, int64_t begin, int64_t end, int low, int high
) {
    const uint64_t mask = high - low < 64 ? (uint64_t(1) << (high - low)) - 1 : ~uint64_t(0);
    const auto bits = [&](int64_t index) { return uint64_t(keys.current()[index]) >> low & mask; };
    std::vector<int64_t> order(end - begin);
    std::iota(order.begin(), order.end(), begin);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return bits(a) < bits(b); });
    for (int64_t place = begin; place < end; ++place) {
        keys.alternate()[place] = keys.current()[order[place - begin]];
        values.alternate()[place] = values.current()[order[place - begin]];
    }
}

// As CUB's functions do, these only say how much memory they want where `memory` is null.
struct DeviceRadixSort {
    template <class Key, class Value, class Stream>
    static void SortPairs(
        void *memory, size_t &bytes, DoubleBuffer<Key> &keys, DoubleBuffer<Value> &values, int64_t count, int low,
        int high, Stream
    ) {
        if (memory == nullptr) {
            bytes = 1;
            return;
        }
        sort_range(keys, values, 0, count, low, high);
        keys.selector = values.selector = 1 - keys.selector;
    }
};

struct DeviceSegmentedRadixSort {
    template <class Key, class Value, class Stream>
    static void SortPairs(
        void *memory, size_t &bytes, DoubleBuffer<Key> &keys, DoubleBuffer<Value> &values, int64_t, int64_t segments,
        const int64_t *begins, const int64_t *ends, int low, int high, Stream
    ) {
        if (memory == nullptr) {
            bytes = 1;
            return;
        }
        for (int64_t segment = 0; segment < segments; ++segment)
            sort_range(keys, values, begins[segment], ends[segment], low, high);
        keys.selector = values.selector = 1 - keys.selector;
    }
};

// Every thread of the block calls these together.
template <class T, int Threads> struct BlockReduce {
    struct TempStorage {
        T values[Threads];
    };
    TempStorage &shared;

    T Sum(T value) {
        shared.values[cooperative_groups::thread_block::thread_rank()] = value;
        __syncthreads();
        return std::accumulate(shared.values, shared.values + Threads, T(0));
    }
};

template <class T, int Threads> struct BlockScan {
    struct TempStorage {
        T values[Threads];
    };
    TempStorage &shared;

    void ExclusiveSum(T value, T &sum) {
        const unsigned rank = cooperative_groups::thread_block::thread_rank();
        shared.values[rank] = value;
        __syncthreads();
        sum = std::accumulate(shared.values, shared.values + rank, T(0));
    }
};

} // namespace cub
