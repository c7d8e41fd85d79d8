// The part of torch's header of this name that a module of functions on tensors needs: reading it takes half as long.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace py = pybind11;
