// What an op is: one struct in one .cpp of src/compute/ops. docs/adding-an-op.md walks through one.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "rein/base/thread_team.h"
#include "rein/compute/origin.h"
#include "rein/compute/value.h"

namespace rein {

/// An argument of a forward call.
struct In {
  const Spec* spec = nullptr;
  const void* data = nullptr;
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  const Shape& shape() const { return spec->shape; }
  DType dtype() const { return spec->dtype; }
  int64_t size() const { return spec->size(); }
};

/// A result of a forward call: memory to fill, which holds anything before.
struct Out {
  const Spec* spec = nullptr;
  void* data = nullptr;
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  const Shape& shape() const { return spec->shape; }
  DType dtype() const { return spec->dtype; }
  int64_t size() const { return spec->size(); }
};

using Ins = std::span<const In>;
using Outs = std::span<const Out>;
using Specs = std::span<const Spec>;

/// Where and when a forward call runs.
struct Run {
  ThreadTeam& team;
  std::byte* scratch = nullptr;    // as many bytes as the op's `scratch` asked for, 64-byte aligned
  RandomStream random{Seed{}, 0};  // of this node at this step
};

/// Rows of a larger array, as values of a graph: what IndexedSlices is to Tensor.
struct Rows {
  Value indices;  // [n] int64
  Value values;   // [n, ...]
  Shape dense_shape;
};

/// What flows back along one argument: nothing, a value, or rows.
struct Cotangent {
  Cotangent() = default;
  Cotangent(Value v) : value(v) {}
  Cotangent(Rows r) : rows(std::move(r)) {}
  std::optional<Value> value;
  std::optional<Rows> rows;
  explicit operator bool() const { return value || rows; }
};
using Cotangents = std::vector<Cotangent>;

/// Where in a value the examples of a batch are.
struct Examples {
  enum class Kind : uint8_t {
    none,    // the value is the same whatever they are
    apart,   // element e, row-major, is made of example e / stride % batch and none of the others
    hidden,  // so too, but in an order that the op alone knows
    sum,     // over the examples, of something that each of them adds
    mixed
  };
  Kind kind = Kind::none;
  int64_t stride = 0;
  friend bool operator==(const Examples&, const Examples&) = default;
};

/// What an op is asked about the examples of a batch.
struct BatchQuery {
  Specs in;
  std::span<const Examples> at;  // in each argument: none, apart or hidden; in some not none
  int64_t size;                  // of the batch, more than 1
};

/// What a gradient rule sees. It answers with one cotangent an argument, made of ops.
struct Backward {
  std::span<const Value> in;
  std::span<const Value> out;
  std::span<const std::optional<Value>> dout;  // absent where the loss does not use that result
  std::span<const char> needed;                // per argument; see `needs`
  bool examples_apart = false;                 // as GraphOptions has it

  const Value& y() const { return out[0]; }
  const Value& dy() const { return *dout[0]; }  // of an op with one result, never absent
  /// Whether anybody asks for the gradient of argument `i`. Ordinary rules need not look: what
  /// nobody reads is not computed. A fused backward saves work by it.
  bool needs(size_t i) const { return needed[i] != 0; }
};

/// Thrown by a shape rule; the graph adds the op's name, the shapes and the caller's place.
struct RuleViolation : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};
inline void require(bool condition, const char* what) {
  if (!condition) throw RuleViolation(what);
}
inline void require(bool condition, const std::string& what) { require(condition, what.c_str()); }
/// What the caller sees of it: `op: what, got SPEC and SPEC (file:line)`.
InvalidArgument rule_error(std::string_view op, std::string_view what, Specs got, Where where);

/// An op: its fields are its attributes.
///  - `infer`: the spec (or specs) of the results from those of the arguments, or RuleViolation;
///  - `forward`: computes them; must not throw;
///  - `vjp`: the gradient rule; or a constant `no_gradient` that says why there is none.
/// Optional:
///  - `size_t scratch(Specs in) const`: bytes of scratch memory for `forward`;
///  - `std::vector<int64_t> views(Specs in) const`: not empty when the results are no new numbers
///    but pieces of argument 0, at these offsets (in elements); `forward` is then not called, and
///    the other arguments are there for the gradient rule alone;
///  - `bool may_overwrite(size_t argument) const`: whether `forward` still works when its first
///    result lies where that argument lies (of the same size). A recording then spends no memory
///    on the result, if nobody reads the argument later;
///  - `std::vector<Examples> examples(const BatchQuery& b) const`: where they are in each result;
///    nothing if results mix them. Without it examples are lost track of, as they should be in an
///    op that draws random numbers;
///  - `static constexpr int sign_in_sums`, 1 or -1: where all arguments are sums over examples, the
///    result is one too, of the same numbers or of their negatives;
///  - `static constexpr bool attributes_are_shapes = true`, where they may follow the size of a
///    batch: examples are then kept apart whatever they are, by the shapes of the results alone;
///  - `std::optional<SequencePlace> locate(Ins in, Outs out) const`: after `forward` has made
///    numbers that are not finite, where in a sequence the first one arose.
template <class T>
concept OpDef = std::equality_comparable<T> &&
    requires(const T op, Specs specs, const Run& run, Ins in, Outs out) {
  { T::name } -> std::convertible_to<std::string_view>;
  op.infer(specs);
  { op.forward(run, in, out) } -> std::same_as<void>;
} &&(
    requires(const T op, const Backward& b) {
      { op.vjp(b) } -> std::same_as<Cotangents>;
    } ||
    requires {
      { T::no_gradient } -> std::convertible_to<std::string_view>;
    });

/// An op with its type erased: derived from the struct, written nowhere.
struct OpRecord {
  std::string_view name;
  std::string_view no_gradient;  // empty: there is a rule
  bool attributes_are_shapes = false;
  int sign_in_sums = 0;  // 0: sums are lost track of
  std::vector<Spec> (*infer)(const void* op, Specs in);
  void (*forward)(const void* op, const Run& run, Ins in, Outs out);
  Cotangents (*vjp)(const void* op, const Backward& b);
  size_t (*scratch)(const void* op, Specs in);
  std::vector<int64_t> (*views)(const void* op, Specs in);
  bool (*may_overwrite)(const void* op, size_t argument);
  // Null: it does not know.
  std::vector<Examples> (*examples)(const void* op, const BatchQuery& b);
  std::optional<SequencePlace> (*locate)(const void* op, Ins in, Outs out);
  bool (*equal)(const void* a, const void* b);
  const OpRecord* next = nullptr;  // the list of all records, see `first_op`

  static OpRecord* link(OpRecord* record);  // called once a record, as the program starts
};

/// The list of all ops of this program, in no order: `for (auto* r = first_op(); r; r = r->next)`.
const OpRecord* first_op();

namespace detail {

template <OpDef T>
constexpr OpRecord make_record() {
  OpRecord r{};
  r.name = T::name;
  r.attributes_are_shapes = requires { requires T::attributes_are_shapes; };
  if constexpr (requires { T::sign_in_sums; }) r.sign_in_sums = T::sign_in_sums;
  r.infer = [](const void* op, Specs in) {
    auto specs = static_cast<const T*>(op)->infer(in);
    if constexpr (std::same_as<decltype(specs), Spec>)
      return std::vector<Spec>{specs};
    else
      return specs;
  };
  r.forward = [](const void* op, const Run& run, Ins in, Outs out) {
    static_cast<const T*>(op)->forward(run, in, out);
  };
  if constexpr (requires { T::no_gradient; })
    r.no_gradient = T::no_gradient;
  else
    r.vjp = [](const void* op, const Backward& b) { return static_cast<const T*>(op)->vjp(b); };
  r.scratch = [](const void* op, Specs in) -> size_t {
    if constexpr (requires(const T t) { t.scratch(in); })
      return static_cast<const T*>(op)->scratch(in);
    else
      return 0;
  };
  r.views = [](const void* op, Specs in) -> std::vector<int64_t> {
    if constexpr (requires(const T t) { t.views(in); })
      return static_cast<const T*>(op)->views(in);
    else
      return {};
  };
  r.may_overwrite = [](const void* op, size_t argument) {
    if constexpr (requires(const T t) { t.may_overwrite(argument); })
      return static_cast<const T*>(op)->may_overwrite(argument);
    else
      return false;
  };
  if constexpr (requires(const T t, const BatchQuery& b) { t.examples(b); })
    r.examples = [](const void* op, const BatchQuery& b) {
      return static_cast<const T*>(op)->examples(b);
    };
  if constexpr (requires(const T t, Ins in, Outs out) { t.locate(in, out); })
    r.locate = [](const void* op, Ins in, Outs out) {
      return static_cast<const T*>(op)->locate(in, out);
    };
  r.equal = [](const void* a, const void* b) {
    return *static_cast<const T*>(a) == *static_cast<const T*>(b);
  };
  return r;
}

template <OpDef T>
struct Registered {
  static inline constinit OpRecord record = make_record<T>();
  static inline OpRecord* const linked = OpRecord::link(&record);
};

Values apply(const OpRecord& record, std::shared_ptr<const void> op,
             std::span<const Operand> operands, Where where);
Values add(const OpRecord& record, std::shared_ptr<const void> op, Values in, Where where);

}  // namespace detail

/// Adds a node to the graph of its arguments; all its results.
template <OpDef T>
Values add_node(T op, Values in, Where where) {
  return detail::add(*detail::Registered<T>::linked, std::make_shared<const T>(std::move(op)),
                     std::move(in), where);
}

/// Adds a node to the graph of the operands; all its results.
template <OpDef T>
Values apply_all(T op, std::span<const Operand> operands, Where where) {
  return detail::apply(*detail::Registered<T>::linked, std::make_shared<const T>(std::move(op)),
                       operands, where);
}

/// The same for an op with one result.
template <OpDef T>
Value apply(T op, std::initializer_list<Operand> operands, Where where) {
  return apply_all(std::move(op), std::span(operands.begin(), operands.size()), where)[0];
}

}  // namespace rein
