// Norms over some axes of an array.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "rein/tensor/variables.h"

namespace rein {

/// Which slice each element of an array belongs to, when it is reduced along some axes: elements
/// that differ only there share one.
class Slicing {
 public:
  Slicing() = default;  // of one number
  /// Negative axes count from the end. Throws InvalidArgument for an axis that is not there.
  Slicing(const Shape& shape, const std::vector<int>& axes, std::string_view op,
          Where where = Where::here());

  size_t count() const { return static_cast<size_t>(count_); }

  /// The same of an array of `rows` rows, where this one has `of`.
  Slicing with_rows(int64_t rows, int64_t of) const;

  /// An array is shared out in parts, runs of its numbers that the shape alone decides. Where they
  /// lie along an axis that is reduced, each has a number for every slice; else slices of its own.
  struct Part;
  size_t parts() const { return static_cast<size_t>((outer().size + step_ - 1) / step_); }
  Part part(size_t k) const;
  /// How many numbers the slices of all parts have.
  size_t room() const { return outer().stride == 0 ? parts() * count() : count(); }

  /// Calls f(slice, element, n, step) for runs of n elements in their order; the j-th of a run is
  /// of slice + j step, step 0 or 1.
  template <class F>
  void for_each_run(F&& f) const {
    std::array<int64_t, Shape::kMaxRank> at{};
    const Dimension& last = dimensions_[static_cast<size_t>(rank_ - 1)];
    int64_t slice = 0;
    for (int64_t i = 0; i < size_; i += last.size) {
      f(static_cast<size_t>(slice), static_cast<size_t>(i), static_cast<size_t>(last.size),
        static_cast<size_t>(last.stride));
      for (int a = rank_ - 1; a-- > 0;) {
        const auto k = static_cast<size_t>(a);
        slice += dimensions_[k].stride;
        if (++at[k] < dimensions_[k].size) break;
        slice -= dimensions_[k].stride * at[k];
        at[k] = 0;
      }
    }
  }

 private:
  struct Dimension {
    int64_t size = 1, stride = 0;  // in slices; 0: reduced
  };
  const Dimension& outer() const { return dimensions_[0]; }
  void choose_parts();

  std::array<Dimension, Shape::kMaxRank> dimensions_{};  // neighbours of one kind are one
  int rank_ = 1;
  int64_t size_ = 1, count_ = 1;
  int64_t step_ = 1;  // of the outermost dimension, in a part
};

struct Slicing::Part {
  Slicing slicing;
  size_t element = 0, elements = 0;  // the first of the array's, and how many
  size_t slice = 0;                  // the first of the array's
  size_t number = 0;                 // of that slice, among those of all parts
};

/// Numbers for the slices of all parts of each variable. A transform keeps it as its state, so that
/// a step allocates only where it has more rows than those before.
struct SliceNorms {
  std::vector<Slicing> of_variable;
  std::vector<size_t> first;  // of each variable, in `values`
  std::vector<double> values;
  std::vector<size_t> tasks;     // the first of each variable, and their count
  std::vector<uint8_t> changes;  // whether a variable's numbers change

  SliceNorms() = default;
  SliceNorms(const Variables& variables, const std::function<std::vector<int>(const Shape&)>& axes,
             std::string_view op);

  /// Nothing in it outlives a step.
  template <class Self, class F>
  static void fields(Self&, F&&) {}

  /// Of the numbers that its gradient, if it is there, stores.
  Slicing of_stored(const Gradients& gradients, size_t variable) const;
  /// Makes room for all stored rows: repeated ones may be more than a variable has.
  void fit(const Gradients& gradients);

  std::span<double> of(size_t variable, const Slicing& slicing) {
    return std::span(values).subspan(first[variable], slicing.room());
  }
};

}  // namespace rein
