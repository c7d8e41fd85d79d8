// Threads take turns, so a plain sum is atomic.
#pragma once

template <class T, class Value> void gpuAtomicAdd(T *place, Value value) { *place += T(value); }
