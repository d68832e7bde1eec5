// How fast single kernels are.
#pragma once

#include <string>
#include <vector>

#include "rein/kernels/precision.h"

namespace rein::app {

struct KernelTime {
  std::string name;
  double us = 0;             // of the fastest call
  double gflops = 0;         // of products; else 0
  double share = 0;          // of the ceiling of products
  double ns_an_element = 0;  // of what goes element by element; else 0
};

/// Products, the LSTM's two passes and, in float32, elementwise functions, on one thread or
/// `threads`, each for some tenths of a second in all. The ceiling is that of float32. Throws
/// UsageError for a negative number of threads, and for products that this processor cannot.
std::vector<KernelTime> bench_kernels(const ProductOptions& products, int threads,
                                      double seconds = 0.2);

/// A JSON array of objects on one line, with the fields by their names.
std::string as_json(const std::vector<KernelTime>& kernels);

}  // namespace rein::app
