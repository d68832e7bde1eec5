// What stage 1 hands to stage 2 and stage 2 to stage 3.
#pragma once

#include <utility>
#include <variant>
#include <vector>

#include "rein/base/thread_team.h"
#include "rein/tensor/tensor.h"

namespace rein {

/// Some rows of a larger array: row `indices[k]` of a `dense_shape` array has `values[k]` added to
/// it; every other row is 0. An index may occur more than once. The gradient of a gather.
struct IndexedSlices {
  Tensor values;   // [n, dense_shape[1:]...]
  Tensor indices;  // [n], int64
  Shape dense_shape;
};

/// Throws InvalidArgument unless the parts fit together and every index is a row of `dense_shape`.
void validate(const IndexedSlices& slices, Where where = Where::here());
/// Rows in rising order, each once, duplicates added up (in the order in which they stood).
/// Throws as `validate`.
IndexedSlices merge_duplicates(const IndexedSlices& slices, Where where = Where::here());
/// The whole array. Throws as `validate`.
Tensor to_dense(const IndexedSlices& slices, Where where = Where::here());

/// IndexedSlices that a step fills anew each time: their memory grows to the largest number of rows
/// and is then kept, so that a step allocates none.
class SlicesBuffer {
 public:
  /// Copies rows of a `dense_shape` array; indices are int32 or int64. Throws as `validate`.
  void assign(const Tensor& values, const Tensor& indices, const Shape& dense_shape,
              Where where = Where::here());
  /// Puts more rows of the same array behind those that are there.
  void append(const IndexedSlices& more);
  /// As the function of this name. Costs one look at the indices where rows are so already. The
  /// team may help; without one the caller works alone.
  void merge_duplicates(ThreadTeam* team = nullptr);

  const IndexedSlices& slices() const { return slices_; }
  Tensor& values() { return slices_.values; }

 private:
  struct Memory {
    Buffer values, indices;
  };
  struct PlacedRow {
    int64_t row, place;
  };
  void sort_order();
  // Makes `slices_` the first `count` rows of `memory`, which has room for `room` of them.
  void point_to(Memory& memory, int64_t count, int64_t room);

  IndexedSlices slices_;
  Memory now_, spare_;  // slices_ looks at `now_`
  std::vector<PlacedRow> order_, spare_order_;
  std::vector<size_t> firsts_;  // in `order_`, of each row
};

/// The gradient of a loss with respect to one variable: absent (the loss does not depend on it), a
/// dense tensor, or rows of one. Clip functions keep it what it is, and where it is.
class Gradient {
 public:
  Gradient() = default;  // absent
  Gradient(Tensor dense) : value_(std::move(dense)) {}
  Gradient(IndexedSlices slices) : value_(std::move(slices)) {}

  explicit operator bool() const { return value_.index() != 0; }
  bool is_dense() const { return value_.index() == 1; }
  bool is_sparse() const { return value_.index() == 2; }

  /// The dense tensor. Throws InvalidArgument if it is not one.
  const Tensor& dense(Where where = Where::here()) const;
  const IndexedSlices& sparse(Where where = Where::here()) const;

  /// The numbers that it holds: the tensor, or the values of the slices.
  const Tensor& values(Where where = Where::here()) const;
  /// The same kind of gradient with other numbers, of the shape of `values()`.
  Gradient with_values(Tensor values) const;

  /// The shape of the variable.
  const Shape& shape(Where where = Where::here()) const;

 private:
  std::variant<std::monostate, Tensor, IndexedSlices> value_;
};

}  // namespace rein
