// Decide once, run many times.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include "rein/apply/rules.h"
#include "rein/apply/sharpness.h"
#include "rein/compute/recording.h"
#include "rein/dist/communicator.h"
#include "rein/process/clip.h"
#include "rein/train/rollback.h"

namespace rein {

/// The loss is multiplied by a scale before gradients are computed, and gradients divided by it
/// before anything sees them, so that small ones survive a narrow number format on the way. It
/// moves with what happens: divided by `factor` at a step that is not finite, and multiplied by it
/// after `growth_interval` steps in a row that were fine (0: never).
///
/// A step that is not finite is skipped before transforms see it, for ever if the training is over.
/// With a CheckFinite of your own only while the scale may be to blame, that is, while it is above
/// `least` and no step was fine at it; then the policy of that decides.
struct LossScale {
  double initial = 65536;
  double factor = 2;  // 1: the scale stays
  int64_t growth_interval = 2000;
  double least = 1, most = 16777216;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("factor", self.factor);
    f("growth_interval", self.growth_interval);
    f("least", self.least);
    f("most", self.most);
  }
};

struct StepOptions {
  int threads = 0;  // 0: as many as the process may use; the results are the same for any number
  Seed seed{};      // of dropout and other random ops
  /// Of products of float32, forward and backward; a processor that cannot is refused. Parameters,
  /// gates, cell states, sums, norms, clips and the rule are not narrowed; gradients that a matmul
  /// hands on are products of bf16x3 in bf16 too: docs/precision.md.
  ProductOptions products{};
  std::optional<LossScale> loss_scale{};  // none: gradients are computed as they are
  std::optional<Sharpness> sharpness{};   // none: gradients are those of the parameters
  // The axis of the first input that counts examples (0, or 1 if it is time-major), for limits
  // `per_sample`; none: StepInfo does not know their number.
  std::optional<int> batch_axis{};
  std::optional<Rollback> rollback{};
  /// The cost then returns one loss an example, [batch], and metrics [batch, ...]; the inputs are
  /// [batch, ...]. Not together with a loss scale or sharpness. To be recorded, the cost is called
  /// for one example, and for two sizes of batches.
  std::optional<PerExample> per_example{};
  /// Other ranks that take every step with this one, each with a batch of its own: the step is that
  /// of the mean gradient, as if their batches were micro-batches of one rank. None: alone.
  Communicator* communicator = nullptr;
};

/// A tensor with the place where a step is called with it, for error texts.
struct PlacedTensor {
  PlacedTensor(const Tensor& t, Where w = Where::here()) : tensor(t), where(w) {}
  const Tensor& tensor;
  Where where;
};

/// A training step: the recorded gradients of a cost, transforms, and a rule. The first call
/// records (and allocates); later calls replay. Settings of transforms and the rule that make no
/// sense throw InvalidArgument at once.
///
///     Step train = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{});
///     for (auto& [x, y] : batches) StepInfo info = train(x, y);
///
/// With `sharpness` the gradients of a batch are computed twice, the second time at other
/// parameters; loss and metrics are those of the first time. With micro-batches each does so.
///
/// What happens, in this order: gradients of the micro-batches that were accumulated are added up,
/// here and over the ranks of `communicator`, and divided by their number, the loss scale is taken
/// out, `per_example` adds its noise, once, transforms see the result once (behind a CheckFinite
/// that skips, with a loss scale or a Rollback: see there), the rule makes deltas of it.
///
/// Ranks begin with the same variables (the same seed, or the same loaded state), settings and
/// memory of transforms and rule: the first step, and the first after `load_state`, compares, and
/// throws InvalidArgument on all of them. From then on their parameters are the same to the bit:
/// StepInfo's loss, norms and decisions are those of all together. Metrics are each rank's own.
class Step {
 public:
  Step(ModelFunction cost, Variables& variables, AnyTransform process, AnyRule rule,
       StepOptions options = {}, Where where = Where::here());
  ~Step();
  Step(Step&&) noexcept;
  Step& operator=(Step&&) noexcept;

  template <class... Tensors>
  requires(std::same_as<Tensors, Tensor>&&...) StepInfo operator()(PlacedTensor first,
                                                                   const Tensors&... rest) {
    const Tensor all[] = {first.tensor, rest...};
    return run(all, first.where);
  }
  /// Computes the gradients of a micro-batch and keeps them for the step that comes next, which
  /// takes the mean over all micro-batches, its own included. Returns the loss.
  ///
  ///     train.accumulate(x1, y1), train.accumulate(x2, y2);
  ///     StepInfo info = train(x3, y3);  // one step with the mean gradient of three
  template <class... Tensors>
  requires(std::same_as<Tensors, Tensor>&&...) double accumulate(PlacedTensor first,
                                                                 const Tensors&... rest) {
    const Tensor all[] = {first.tensor, rest...};
    return accumulate_all(all, first.where);
  }
  double accumulate_all(std::span<const Tensor> inputs, Where where = Where::here());

  /// Throws InvalidArgument, having changed nothing, if an input has another shape than at the
  /// first call, or if the rule's schedules give what makes no sense. What a transform throws
  /// leaves parameters, the rule, the count of steps and what other transforms remember as they
  /// were; but micro-batches that were accumulated for the step are gone.
  StepInfo run(std::span<const Tensor> inputs, Where where = Where::here());

  /// Computes loss and gradients of a batch again, as the next step would, and says where the first
  /// number that is not finite arises, if one does; with sharpness at the parameters' own place,
  /// then at the other. Changes nothing. Slow.
  std::optional<NonFiniteOrigin> find_non_finite(std::span<const Tensor> inputs,
                                                 Where where = Where::here());

  /// A copy of what the cost returned after the loss, of the last step. A metric that is a variable
  /// itself shows it after the update; with sharpness before. Throws InvalidArgument if there is no
  /// such one.
  Tensor metric(size_t i, Where where = Where::here()) const;

  /// What to evaluate a variable with: the average that the rule keeps of it (WeightAverage,
  /// Lookahead, ScheduleFreeAdamW), or its numbers if there is none.
  Tensor average(const Variable& variable, Where where = Where::here());
  /// Calls `evaluate` while all parameters are their averages, then puts them back, to the bit. It
  /// cannot train or save in there: InvalidArgument.
  void with_averages(const std::function<void()>& evaluate, Where where = Where::here());

  /// With `per_example`: the norm of the gradient of each example of the last batch, before it was
  /// clipped. Whoever sees them learns of single examples.
  const std::vector<double>& example_norms() const;

  /// With `per_example`, after the first step: empty if the examples of a batch are computed
  /// together, else why they are one after the other: `dropout (model.cpp:12) does not keep the
  /// examples of the loss apart`.
  const std::string& one_by_one_because() const;

  /// By which the next loss will be multiplied; 1 without loss scaling.
  double loss_scale() const;
  /// How many steps have been run, those that a transform skipped included (a rule counts without
  /// them).
  int64_t step() const;

  /// Everything that a training needs to go on as if it had not stopped: parameters, what
  /// transforms and the rule remember, counts; and the settings, to compare. A file of it:
  /// rein/io/state_file.h. Throws InvalidArgument if a transform or the rule does not list what it
  /// remembers, and between micro-batches.
  StateDict state(Where where = Where::here()) const;
  /// Goes on from there, to the bit. Throws InvalidArgument, having changed nothing, with a list of
  /// all that is missing, unexpected or different. Parameters that are made by the first call of
  /// the cost must have been made.
  void load_state(const StateDict& saved, SavedSettings settings = SavedSettings::must_match,
                  Where where = Where::here());

  /// From now on steps measure where their time goes, from zero; or no longer.
  void profile(bool on);
  /// Of all steps since then: the ops of the recording by name, then `process` and `apply`.
  std::vector<OpTime> op_times() const;

  /// Of the recording: bytes of memory, ops a run.
  size_t arena_bytes() const;
  size_t instruction_count() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

namespace detail {
// Throws InvalidArgument unless a model is given as many inputs as it takes.
void need_inputs(size_t takes, size_t given);

// A function of n values as one of a list of values.
template <class F, size_t... I>
Values call_model(const F& f, std::span<const Value> in, std::index_sequence<I...>) {
  need_inputs(sizeof...(I), in.size());
  if constexpr (std::is_convertible_v<decltype(f(in[I]...)), Values>)
    return f(in[I]...);
  else
    return {f(in[I]...)};
}
template <size_t>
using ValueAt = Value;
template <class F, size_t... I>
constexpr bool takes_values(std::index_sequence<I...>) {
  return std::is_invocable_v<const F&, ValueAt<I>...>;
}
template <class F, size_t N = 1>
constexpr size_t arity() {
  static_assert(N <= 8, "a model is a function of one to eight values, or of a span of them");
  if constexpr (N > 8 || takes_values<F>(std::make_index_sequence<N>{}))
    return N;
  else
    return arity<F, N + 1>();
}
}  // namespace detail

/// Makes a ModelFunction of a callable that takes Values by name: `[&](Value x, Value y) { ... }`.
/// It returns the result, or Values: the loss first, then metrics.
template <class F>
ModelFunction model_function(F f) {
  if constexpr (std::is_convertible_v<F, ModelFunction>)
    return f;
  else
    return [f = std::move(f)](std::span<const Value> in) {
      return detail::call_model(f, in, std::make_index_sequence<detail::arity<F>()>{});
    };
}

template <class Cost>
Step record(Cost cost, Variables& variables, AnyTransform process, AnyRule rule,
            StepOptions options = {}, Where where = Where::here()) {
  return {model_function(std::move(cost)),
          variables,
          std::move(process),
          std::move(rule),
          options,
          where};
}

/// A recorded function without gradients: `Function predict{[&](Value x) { return logits(x); }};
/// Tensor y = predict(x);`
class Function {
 public:
  template <class F>
  requires(!std::same_as<F, Function>) explicit Function(F f, StepOptions options = {})
      : Function(model_function(std::move(f)), options, 0) {}
  ~Function();
  Function(Function&&) noexcept;
  Function& operator=(Function&&) noexcept;

  /// A copy of the first result.
  template <class... Tensors>
  requires(std::same_as<Tensors, Tensor>&&...) Tensor operator()(PlacedTensor first,
                                                                 const Tensors&... rest) {
    const Tensor all[] = {first.tensor, rest...};
    return run(all, first.where);
  }
  Tensor run(std::span<const Tensor> inputs, Where where = Where::here());

 private:
  Function(ModelFunction f, StepOptions options, int);
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rein
