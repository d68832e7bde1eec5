// Examples by number, and wrappers around them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rein/base/random.h"
#include "rein/tensor/tensor.h"

namespace rein {

/// The tensors that belong together, in the order in which a model takes them: `step.run(example)`.
using Example = std::vector<Tensor>;

/// Examples 0 ... size() - 1. Reading one does not change the dataset, so several threads may.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// The tensors may share storage with the dataset. `index` is in [0, size()).
  virtual Example get(int64_t index) const = 0;
};
using DatasetPtr = std::shared_ptr<const Dataset>;

/// Rows of tensors that are in memory: example i is row i of every column, a view. Throws
/// InvalidArgument if there is no column, or if the columns differ in their first size.
DatasetPtr in_memory(std::vector<Tensor> columns, Where where = Where::here());

/// The first `count` examples, or all if there are fewer.
DatasetPtr take(DatasetPtr source, int64_t count, Where where = Where::here());

/// All examples in an order that depends on (seed, epoch, size) alone.
DatasetPtr shuffle(DatasetPtr source, Seed seed, int64_t epoch);

struct BatchOptions {
  bool drop_remainder = false;  // leave out the last batch if it is not full
};
/// `batch_size` examples in a row as one: tensors [shape...] become [batch_size, shape...]. Throws
/// InvalidArgument if the size is not positive; `get` throws it if the examples differ in shape.
DatasetPtr batch(DatasetPtr source, int64_t batch_size, BatchOptions options = {},
                 Where where = Where::here());

}  // namespace rein
