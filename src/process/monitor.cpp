#include "rein/process/monitor.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "process/l2.h"
#include "process/monitor_record.h"
#include "process/pieces.h"

namespace rein {
namespace {

constexpr size_t kComparisons = 16;  // that are remembered

// Whether `norm` is what the factor made of `before`: if not, numbers have changed. A clip by the
// global norm multiplies and divides once each in double.
bool only_scaled(double norm, double before, double factor) {
  return std::abs(norm - before * factor) <= 1e-14 * before * factor;
}

}  // namespace

// ---------------------------------------------------------------- what is remembered

void Monitor::Record::begin(const Variables& variables) {
  const size_t n = variables.size();
  names.clear();
  for (const auto& entry : variables.layout().entries) names.push_back(entry.name);
  ++begun;
  steps = copied = compared = sequence_step = 0;
  sequence.reset();
  after = Norms(variables);
  before.of_variable.reserve(n);
  const auto window = static_cast<size_t>(options.window);
  of_steps = Rings(kOfStep, window);
  befores = afters = Rings(n, window);
  updates = Rings(n, kComparisons);
  parameters = Buffer();
  moved.resize(after.blocks.size());
  stood.resize(after.blocks.size());
}

void Monitor::Record::remember(const StepInfo& info, bool clipped, bool scaled) {
  ++steps;
  befores.advance();
  afters.advance();
  of_steps.advance();
  for (size_t i = 0; i < names.size(); ++i) {
    befores.newest(i) = before.of_variable[i];
    afters.newest(i) = after.of_variable[i];
  }
  const double norm = before.global();
  of_steps.newest(kBefore) = norm;
  of_steps.newest(kAfter) = after.global();
  of_steps.newest(kClipped) = clipped;
  of_steps.newest(kBent) = clipped && std::isfinite(norm) && !scaled;
  of_steps.newest(kSkipped) = info.skip;
  of_steps.newest(kNonFinite) = !info.finite || !std::isfinite(norm);
  // By its name: what zeroed it in front of the first norms has seen it, and they have not.
  const auto where = std::ranges::find(names, info.non_finite) - names.begin();
  const bool known = !info.non_finite.empty() && where < std::ssize(names);
  of_steps.newest(kWhere) = known ? static_cast<double>(where + 1) : 0;
}

void Monitor::Record::copy(const Variables& variables, ThreadTeam* team) {
  const size_t bytes = variables.layout().size * size_of(variables.dtype());
  if (parameters.size() != bytes) parameters = Buffer(bytes);
  const auto* from = static_cast<const std::byte*>(variables.block());
  constexpr size_t kPiece = size_t{1} << 20;
  run_tasks(team, static_cast<int64_t>((bytes + kPiece - 1) / kPiece), [&](int64_t task) {
    const size_t at = static_cast<size_t>(task) * kPiece;
    std::memcpy(parameters.data() + at, from + at, std::min(kPiece, bytes - at));
  });
  copied = steps;
}

void Monitor::Record::compare(const Variables& variables, ThreadTeam* team) {
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    run_tasks(team, static_cast<int64_t>(after.tasks.size()) - 1, [&](int64_t task) {
      const auto t = static_cast<size_t>(task);
      for (size_t b = after.tasks[t]; b < after.tasks[t + 1]; ++b) {
        const Norms::Block& block = after.blocks[b];
        const size_t offset = variables.layout().entries[block.variable].offset + block.begin;
        const T* then = reinterpret_cast<const T*>(parameters.data()) + offset;
        const T* now = static_cast<const T*>(variables.block()) + offset;
        JointNorm difference;
        T tile[1024];
        for (size_t at = 0; at < block.size; at += std::size(tile)) {
          const size_t m = std::min(std::size(tile), block.size - at);
          for (size_t k = 0; k < m; ++k) tile[k] = now[at + k] - then[at + k];
          difference.add(block_norm(std::span<const T>(tile, m)));
        }
        moved[b] = difference.value();
        stood[b] = block_norm(std::span<const T>(then, block.size));
      }
    });
  });
  const bool any = std::ranges::any_of(moved, [](double m) { return m != 0; });
  compared =
      any ? copied : compared;  // a step that moved nothing was left out, or had nothing to do
  copied = 0;
  if (!any) return;
  updates.advance();
  for (size_t i = 0, first = 0; i < names.size(); ++i) {
    size_t last = first;
    while (last < after.blocks.size() && after.blocks[last].variable == i) ++last;
    updates.newest(i) = joint_norm(std::span(moved).subspan(first, last - first)) /
                        joint_norm(std::span(stood).subspan(first, last - first));
    first = last;
  }
}

// ---------------------------------------------------------------- the transform

class Monitor::Around {
 public:
  Around(std::shared_ptr<Record> record, AnyTransform process)
      : record_(std::move(record)), process_(std::move(process)) {}

  // Settings and state are those of what it is around: a step loads what was saved without one.
  void describe(std::string_view path, Settings& out) const { process_.describe(path, out); }
  bool decides_non_finite() const { return process_.decides_non_finite(); }
  bool may_refuse() const { return process_.may_refuse(); }
  void find_shards(std::vector<Shards>& found) const { process_.find_shards(found); }
  struct State {
    AnyTransform::State process;
    int64_t begun = 0;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("", self.process);
    }
  };
  State init(const Variables& variables) const {
    State state{process_.init(variables)};
    record_->begin(variables);
    state.begun = record_->begun;
    return state;
  }

  void update(Gradients& gradients, State& state, const Variables& variables,
              StepInfo& info) const {
    Record& r = begin_step(gradients, state, variables);
    Norms* const outer = std::exchange(info.norms_wanted, &r.before);
    const bool clipped_before = std::exchange(info.clipped, false);
    const double scale_before = info.scale;
    r.before.of_variable.clear();
    process_.update(gradients, state.process, variables, info);

    bool scaled = false;
    if (r.before.of_variable.empty()) {
      r.after.order = 2;
      r.after.take(gradients);
      r.after.report_non_finite(gradients, info);
    } else {
      scaled = find_after(gradients, info, info.scale / scale_before);
    }
    r.remember(info, info.clipped, scaled);
    info.clipped |= clipped_before;
    info.norms_wanted = outer;
    r.before.leave_with(outer);
    if (r.options.every > 0 && (r.steps - 1) % r.options.every == 0 && !info.skip)
      r.copy(variables, gradients.team);
  }

  void remember(State& state) const { process_.remember(state.process); }

  void see_skipped(Gradients& gradients, State& state, const Variables& variables,
                   StepInfo& info) const {
    Record& r = begin_step(gradients, state, variables);
    r.after.take(gradients);
    r.before.of_variable.clear();
    r.after.leave_with(&r.before);
    r.remember(info, false, false);
    process_.see_skipped(gradients, state.process, variables, info);
  }

 private:
  Record& begin_step(Gradients& gradients, State& state, const Variables& variables) const {
    Record& r = *record_;
    if (state.begun != r.begun)
      throw InvalidArgument(
          "Monitor", "it watches another step, which began later; give each step one of its own",
          Where{});
    if (r.copied) r.compare(variables, gradients.team);
    return r;
  }
  // Whether all were multiplied by one factor, and nothing else was done.
  bool find_after(Gradients& gradients, const StepInfo& info, double factor) const {
    Record& r = *record_;
    const double norm = r.before.global();
    r.after.order = r.before.order;
    r.after.parts = r.before.parts;
    const bool lost = !std::isfinite(norm) && !std::isfinite(info.clipped_norm);
    const bool changed = !only_scaled(info.clipped_norm, norm, factor);
    // A small variable's clip does not show in the global norm.
    if (!lost && (changed || (info.clipped && factor == 1))) {
      r.after.take(gradients);
      // Where norms of other orders were taken behind it, up to a float's rounding.
      return factor != 1 && std::abs(r.after.global() - norm * factor) <= 1e-6 * norm * factor;
    }
    r.after.of_variable = r.before.of_variable;
    for (double& x : r.after.of_variable) x *= factor;
    return factor != 1;
  }

  std::shared_ptr<Record> record_;
  AnyTransform process_;
};

Monitor::Monitor(MonitorOptions options, Where where) {
  if (options.window < 1)
    throw InvalidArgument(
        "Monitor", fmt::format("window is {}; remember at least one step", options.window), where);
  if (options.every < 0)
    throw InvalidArgument(
        "Monitor",
        fmt::format("every is {}; give a number of steps, or 0 to compare none", options.every),
        where);
  record_ = std::make_shared<Record>(options);
}

void Monitor::note(SequenceReport sequence) {
  record_->sequence = std::move(sequence);
  record_->sequence_step = record_->steps;
}

AnyTransform Monitor::around(AnyTransform process) const {
  return Around(record_, std::move(process));
}

}  // namespace rein
