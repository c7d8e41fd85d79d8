// A guard selects the GPU of a tensor. Here there is one device.
#pragma once

#include <ATen/DeviceGuard.h>

#include "CUDAStream.h"

namespace at::cuda {

struct OptionalCUDAGuard {
    explicit OptionalCUDAGuard(std::optional<at::Device>) {}
};

} // namespace at::cuda
