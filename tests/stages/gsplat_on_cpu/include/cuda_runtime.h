// The part of CUDA's language and run time that gsplat's sources use, in plain C++.
#pragma once

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include <limits>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
// Blocks run one after another on the thread that launches them, so a block's memory is that thread's.
#define __shared__ static thread_local

struct uint2 {
    unsigned x, y;
};

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    uint64_t count() const { return uint64_t(x) * y * z; }
};

// -- numbers ----------------------------------------------------------------------------------------------------------

inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rsqrtf(float x) { return rsqrt(x); }
// A GPU rounds these two coarsely. Here they are as exact as the others.
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }

// CUDA takes arguments of two types, and of a number and no number (NaN) the number.
template <class A, class B>
    requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return fmin(T(a), T(b));
    return T(b) < T(a) ? T(b) : T(a);
}

template <class A, class B>
    requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return fmax(T(a), T(b));
    return T(a) < T(b) ? T(b) : T(a);
}

namespace gsplat_on_cpu {

// A cast to an integer type, as a GPU does it: what lies outside becomes the nearest value of the type, NaN becomes 0.
// In C++ such a cast of a floating-point number is undefined.
template <class To, class From> To converted(From value) {
    if constexpr (std::is_floating_point_v<From>) {
        using Limits = std::numeric_limits<To>;
        if (isnan(value)) return 0;
        if (value <= From(Limits::min())) return Limits::min();
        if (value >= From(Limits::max())) return Limits::max();
    }
    return To(value);
}

} // namespace gsplat_on_cpu

// -- the run time -----------------------------------------------------------------------------------------------------

constexpr int cudaSuccess = 0, cudaFuncAttributeMaxDynamicSharedMemorySize = 0;

// Memory that a block shares comes from the heap: there is no limit to raise.
template <class Kernel> int cudaFuncSetAttribute(Kernel *, int, int64_t) { return cudaSuccess; }

#include "launch.h"
