// The parameters of a model, and gradients laid out like them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rein/base/random.h"
#include "rein/base/thread_team.h"
#include "rein/tensor/gradient.h"

namespace rein {

class Communicator;
class Variables;

/// How a new variable gets its numbers: fills `out`, the row-major elements of a `shape` array. The
/// random numbers are the variable's own: they depend on the seed and its name alone.
using Initializer =
    std::function<void(const Shape& shape, const RandomStream& random, std::span<double> out)>;

/// A handle on one of the `Variables`: good as long as they live, wherever their memory moves.
struct Variable {
  Variables* store = nullptr;
  size_t index = 0;

  const std::string& name() const;
  const Spec& spec() const;
  const Shape& shape() const { return spec().shape; }
  DType dtype() const { return spec().dtype; }
  int64_t size() const { return spec().size(); }
  /// A copy of its numbers.
  Tensor read() const;
  friend bool operator==(const Variable&, const Variable&) = default;
};

/// Where each array of a set lies in one block. Arrays start at cache lines; the padding between
/// them belongs to nobody.
struct Layout {
  struct Entry {
    std::string name;
    Spec spec;
    size_t offset = 0;  // in elements
    size_t size = 0;
  };
  std::vector<Entry> entries;
  size_t size = 0;  // of the block, in elements, padding included
};

/// All parameters of a model: one aligned block of one floating type, with named views in the order
/// of creation. During training nothing but `apply_updates` (rein/apply/apply.h) writes to it.
///
///     Variables vars{Seed{1}};
///     Variable w = vars.add("out/weights", {128, 10}, glorot_uniform());
class Variables {
 public:
  explicit Variables(Seed seed = {}, DType dtype = DType::float32, Where where = Where::here());
  Variables(const Variables&) = delete;  // handles point here
  Variables& operator=(const Variables&) = delete;

  /// Throws InvalidArgument if the name is taken or empty, or the shape has no elements.
  Variable add(std::string name, Shape shape, const Initializer& initializer,
               Where where = Where::here());

  size_t size() const { return layout_.entries.size(); }
  Variable operator[](size_t index) { return {this, index}; }
  /// By name. Throws InvalidArgument, with the nearest names, if there is none.
  Variable at(std::string_view name, Where where = Where::here());
  bool contains(std::string_view name) const;

  DType dtype() const { return dtype_; }
  Seed seed() const { return seed_; }
  const Layout& layout() const { return layout_; }
  /// The number of parameters, padding not counted.
  int64_t parameter_count() const;

  /// The whole block, padding included.
  const void* block() const { return block_.data(); }
  template <class T>
  std::span<const T> values(size_t index) const {
    const auto& e = layout_.entries[index];
    return {static_cast<const T*>(block()) + e.offset, e.size};
  }
  /// Sets one variable from outside: a checkpoint, a test. Shape and dtype must be the variable's.
  void assign(const Variable& variable, const Tensor& value, Where where = Where::here());

 private:
  friend class ParameterWriter;  // in rein/apply: the only writer while training

  Seed seed_;
  DType dtype_;
  Layout layout_;
  Buffer block_;
};

/// Of which variables other ranks hold parts: see rein/process/shards.h.
struct Partial {
  Communicator* communicator = nullptr;
  std::vector<size_t> variables{};
};

/// The gradients of all `Variables` as one step knows them: dense ones are views into one block of
/// the same layout, absent ones are not read. A factor that is still to be multiplied (a clip by
/// norm sets it instead of making a pass of its own) waits in `scale`.
class Gradients {
 public:
  explicit Gradients(const Variables& variables);

  enum class Kind : uint8_t { absent, dense, sparse };

  size_t size() const { return kinds_.size(); }
  DType dtype() const { return dtype_; }
  const Layout& layout() const { return *layout_; }
  const std::string& name(size_t index) const { return layout_->entries[index].name; }
  Kind kind(size_t index) const { return kinds_[index]; }

  /// The elements of a dense gradient, without `scale`.
  template <class T>
  std::span<T> dense(size_t index) {
    const auto& e = layout_->entries[index];
    return {reinterpret_cast<T*>(block_.data()) + e.offset, e.size};
  }
  template <class T>
  std::span<const T> dense(size_t index) const {
    const auto& e = layout_->entries[index];
    return {reinterpret_cast<const T*>(block_.data()) + e.offset, e.size};
  }
  /// Of a sparse one, without `scale`.
  const IndexedSlices& sparse(size_t index) const { return sparse_[index].slices(); }
  /// The stored numbers of a gradient that is not absent: the dense elements or the slices' values.
  template <class T>
  std::span<T> stored(size_t index) {
    return kinds_[index] == Kind::sparse ? sparse_[index].values().template flat<T>()
                                         : dense<T>(index);
  }
  template <class T>
  std::span<const T> stored(size_t index) const {
    return const_cast<Gradients*>(this)->stored<T>(index);
  }

  /// Marks what `index` holds; the numbers of a dense one are then written through `dense`.
  void set_kind(size_t index, Kind kind) { kinds_[index] = kind; }
  /// Copies a gradient in. Shape and dtype must be the variable's, the rows of a sparse one rows of
  /// it; else InvalidArgument.
  void set(size_t index, const Gradient& gradient, Where where = Where::here());
  /// Copies in a sparse one whose indices are int32 or int64. Throws as `set`.
  void set_rows(size_t index, const Tensor& values, const Tensor& indices,
                Where where = Where::here());
  /// Adds the stored numbers of another set for the same variables, which has the same `scale`.
  /// Rows stay rows where both are.
  void add(const Gradients& other);
  /// Makes a sparse one dense; others stay.
  void make_dense(size_t index);
  /// Brings the rows of every sparse gradient into rising order, each once, repeated ones added up.
  void merge_duplicates();
  /// A copy with `scale` multiplied in.
  Gradient get(size_t index) const;

  double scale = 1;
  ThreadTeam* team = nullptr;        // who may help with the work; none: the caller's thread alone
  const Partial* partial = nullptr;  // none: nobody else holds a part of anything

 private:
  const Layout* layout_;
  DType dtype_;
  Buffer block_;
  std::vector<Kind> kinds_;
  std::vector<SlicesBuffer> sparse_;
};

}  // namespace rein
