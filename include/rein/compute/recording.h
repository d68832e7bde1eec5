// A graph, planned once and replayed: no allocation, no shape inference.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "rein/compute/graph.h"
#include "rein/compute/origin.h"

namespace rein {

/// What a recording computes, of its inputs.
using ModelFunction = std::function<Values(std::span<const Value> inputs)>;

/// What the same function may be recorded with.
struct RecordingOptions {
  RecordingOptions(Seed s = {}, ProductOptions p = {}) : seed(s), products(p) {}
  Seed seed;  // of random ops
  ProductOptions products;
};

/// InvalidArgument if this processor cannot compute them: see `why_not`. All that record ask it.
void require_possible(const ProductOptions& products, Where where);

/// How long the ops of one name took together.
struct OpTime {
  std::string_view name;
  int64_t calls = 0;
  double seconds = 0;
  void add(std::chrono::duration<double> time) {
    ++calls;
    seconds += time.count();
  }
};

/// Inputs and outputs of a recorded graph, its memory laid out in one arena that values share when
/// their lives do not overlap. Made by `record_forward`, or inside a
/// GradientRecording.
class Recording {
 public:
  Recording(std::unique_ptr<Graph> graph, Values inputs, Values outputs, ThreadTeam& team);
  ~Recording();
  Recording(Recording&&) noexcept;
  Recording& operator=(Recording&&) noexcept;

  /// Computes all outputs from the inputs and the variables as they are now. `step` numbers the
  /// draws of random ops. Throws InvalidArgument if an input has another shape or dtype than the
  /// recording.
  void run(std::span<const Tensor> inputs, uint64_t step = 0, Where where = Where::here());

  size_t input_count() const;
  const Spec& input_spec(size_t i) const;
  /// Output `i` of the last run; overwritten by the next. Throws InvalidArgument before the first.
  Tensor output(size_t i, Where where = Where::here()) const;

  /// Lets output `i` be computed straight into `data`, where it is possible: it is then not copied.
  /// Returns whether it is: never after the first run.
  bool pin_output(size_t i, void* data);

  /// An op that has just run.
  struct Executed {
    size_t node = 0;
    const OpRecord& op;
    Ins in;
    Outs out;
  };
  /// As `run`, but calls `look` after each op, and stops when it returns false.
  void inspect(std::span<const Tensor> inputs, uint64_t step,
               const std::function<bool(const Executed&)>& look, Where where = Where::here());

  /// From now on runs measure each op (at two looks on the clock), from zero; or no longer.
  void profile(bool on);
  /// Of all runs since then, in the order in which a run comes to them first.
  std::vector<OpTime> op_times() const;

  /// Of all values that share the arena, and the scratch memory of the ops.
  size_t arena_bytes() const;
  /// Ops that one run executes.
  size_t instruction_count() const;
  const Graph& graph() const;

 private:
  void begin_run(std::span<const Tensor> inputs, Where where);

  struct Plan;
  std::unique_ptr<Plan> plan_;
};

/// Records `function` for inputs of these specs.
Recording record_forward(const ModelFunction& function, std::span<const Spec> inputs,
                         ThreadTeam& team, RecordingOptions options = {},
                         Where where = Where::here());

struct TracedGradients;  // of the library alone

/// A recorded loss with the gradients of all variables, which land in one `Gradients`.
class GradientRecording {
 public:
  /// `function` returns the loss and, after it, whatever else is wanted (metrics). Throws
  /// InvalidArgument if the loss has more than one element.
  GradientRecording(const ModelFunction& function, std::span<const Spec> inputs,
                    Variables& variables, ThreadTeam& team, RecordingOptions options = {},
                    Where where = Where::here());
  /// Of a function that the library has traced itself; its loss is not looked at.
  GradientRecording(TracedGradients traced, Variables& variables, ThreadTeam& team, Where where);

  /// As Recording::run; afterwards `gradients()` holds them with scale 1.
  void run(std::span<const Tensor> inputs, uint64_t step = 0, Where where = Where::here());

  /// Runs again and says where the first number that is not finite arose, if one does: in a result
  /// of an op, or among the inputs and variables. Slow; `gradients()` is left undefined.
  std::optional<NonFiniteOrigin> find_non_finite(std::span<const Tensor> inputs, uint64_t step = 0,
                                                 Where where = Where::here());

  double loss() const { return recording_.output(0).item(); }
  Gradients& gradients() { return gradients_; }
  const Recording& recording() const { return recording_; }
  void profile(bool on) { recording_.profile(on); }
  /// What the function returned after the loss.
  size_t metric_count() const { return metric_count_; }
  Tensor metric(size_t i) const { return recording_.output(1 + i); }

 private:
  struct Slot {  // where the gradient of one variable comes from
    size_t variable = 0;
    size_t output = 0;   // of the recording: the values
    size_t indices = 0;  // of rows: an output too
    bool sparse = false;
    bool in_place = false;
  };
  struct Made;
  GradientRecording(Made made, Variables& variables);
  static Made make(TracedGradients traced, ThreadTeam& team, Where where);

  Recording recording_;
  Gradients gradients_;
  std::vector<Slot> slots_;
  size_t metric_count_;
  const Variables* variables_;
  size_t variable_count_;
  size_t forward_nodes_;  // of the graph; those after them make gradients
};

}  // namespace rein
