#include "rein/apply/apply.h"

#include <fmt/format.h>

#include <algorithm>

#include "apply/halves.h"
#include "apply/parameter_writer.h"
#include "base/flush_denormals.h"
#include "kernels/prefetch.h"
#include "process/pieces.h"
#include "rein/kernels/update.h"

namespace rein {

namespace {

// Elements that go through scaling, the rule and the addition at once. So few, because then
// gradient, slots and parameters are read from memory side by side as in one fused loop, whose
// speed this reaches; with 2,048 a third of it is lost.
constexpr size_t kTile = kernels::kUpdateTile;
// Elements of a whole variable that a thread takes at a time.
constexpr int64_t kGrain = 16384;

template <class T>
class Update {
 public:
  Update(Variables& variables, Gradients& gradients, const AnyRule& rule, AnyRule::State& state,
         ThreadTeam& team)
      : parameters_(ParameterWriter::block<T>(variables)),
        gradients_(gradients),
        rule_(rule),
        state_(state),
        team_(team),
        adds_(!rule.sees_deltas()) {}

  /// Moves the parameters; or, if the rule wants to see all deltas first, leaves them where the
  /// gradients were.
  void run() const {
    gradients_.merge_duplicates();
    for (size_t i = 0; i < gradients_.size(); ++i) {
      if (gradients_.kind(i) == Gradients::Kind::sparse && way_of(i) != Way::rows) spread(i);
    }
    for_dense_pieces([&](size_t i, T* gradient, size_t begin, size_t n) {
      if (way_of(i) == Way::blocks) move(gradient, {i, begin}, n);
    });
    for (size_t i = 0; i < gradients_.size(); ++i) {
      const Way way = way_of(i);
      if (way == Way::rows) rows(i);
      if (way == Way::whole) whole(i);
    }
    if (adds_) return;
    gradients_.scale = 1;
    for (size_t i = 0; i < gradients_.size(); ++i)
      if (way_of(i) == Way::blocks || way_of(i) == Way::whole)
        gradients_.set_kind(i, Gradients::Kind::dense);
  }

  /// Adds the deltas that `run` left.
  void add() const {
    for_dense_pieces([&](size_t i, T* delta, size_t begin, size_t n) {
      if (gradients_.kind(i) == Gradients::Kind::dense) add_scaled(parameters_ + begin, delta, n);
    });
    for (size_t i = 0; i < gradients_.size(); ++i)
      if (gradients_.kind(i) == Gradients::Kind::sparse)
        for_rows(i, [&](T* delta, BlockPlace place, size_t n) {
          add_scaled(parameters_ + place.offset, delta, n);
        });
  }

 private:
  // Calls f(variable, numbers, offset in the block, their count) for pieces of the dense block, the
  // last ones first: they are still in the cache when the pass before this one was over all norms.
  template <class F>
  void for_dense_pieces(F f) const {
    const Layout& layout = gradients_.layout();
    const int64_t tasks = task_count(layout);
    run_tasks(&team_, tasks, [&](int64_t task) {
      for_part_of_block(layout, tasks - 1 - task, [&](size_t i, size_t begin, size_t end) {
        f(i, gradients_.dense<T>(i).data() + (begin - layout.entries[i].offset), begin,
          end - begin);
      });
    });
  }

  // How a variable is moved. All ways but `rows` find the numbers in the dense block.
  enum class Way : uint8_t { none, blocks, rows, whole };

  Way way_of(size_t i) const {
    if (gradients_.kind(i) == Gradients::Kind::absent) return Way::none;
    if (rule_.whole_variable(state_, i)) return Way::whole;
    if (gradients_.kind(i) == Gradients::Kind::sparse &&
        rule_.sparse_update(state_, i) == SparseUpdate::rows)
      return Way::rows;
    return Way::blocks;
  }

  // Writes the dense gradient that a sparse one stands for.
  void spread(size_t i) const {
    const IndexedSlices& slices = gradients_.sparse(i);
    const auto out = gradients_.dense<T>(i);
    std::ranges::fill(out, T{0});
    const auto rows = slices.indices.template flat<int64_t>();
    const auto values = slices.values.template flat<T>();
    const size_t width = rows.empty() ? 0 : values.size() / rows.size();
    for (size_t k = 0; k < rows.size(); ++k)
      std::ranges::copy(
          values.subspan(k * width, width),
          out.begin() + static_cast<std::ptrdiff_t>(rows[k]) * static_cast<std::ptrdiff_t>(width));
  }

  void rows(size_t i) const {
    for_rows(i, [&](T* values, BlockPlace place, size_t n) { move(values, place, n); });
  }

  // Calls f(values, place, their count) for each row of a sparse gradient.
  template <class F>
  void for_rows(size_t i, F f) const {
    const auto indices = gradients_.sparse(i).indices.template flat<int64_t>();
    if (indices.empty()) return;
    const auto all = gradients_.stored<T>(i);
    T* const values = all.data();
    const size_t width = all.size() / indices.size();
    const size_t offset = gradients_.layout().entries[i].offset;
    const int64_t grain = std::max<int64_t>(1, kGrain / static_cast<int64_t>(width));
    team_.run_ranges(static_cast<int64_t>(indices.size()), grain, [&](int64_t begin, int64_t end) {
      for (auto k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k)
        f(values + k * width, BlockPlace{i, offset + static_cast<size_t>(indices[k]) * width},
          width);
    });
  }

  // The deltas of a whole variable take the place of its gradient.
  void whole(size_t i) const {
    const auto& entry = gradients_.layout().entries[i];
    T* const d = gradients_.dense<T>(i).data();
    T* const w = parameters_ + entry.offset;
    const auto n = static_cast<int64_t>(entry.size);
    const std::span<T> all(d, entry.size);
    const BlockPlace place{i, entry.offset, w, &team_};
    if (adds_ && rule_.update(all, gradients_.scale, w, state_, place)) return;
    if (gradients_.scale != 1)
      team_.run_ranges(n, kGrain, [&](int64_t begin, int64_t end) {
        kernels::scale_into(d + begin, gradients_.scale, d + begin,
                            static_cast<size_t>(end - begin));
      });
    rule_.delta(all, state_, place);
    if (!adds_) return;
    team_.run_ranges(n, kGrain, [&](int64_t begin, int64_t end) {
      kernels::add_into(w + begin, d + begin, static_cast<size_t>(end - begin));
    });
  }

  // Gradient -> delta -> parameters; or the delta in the gradient's place.
  void move(T* gradient, BlockPlace place, size_t n) const {
    const std::span<T> all(gradient, n);
    T* const parameters = parameters_ + place.offset;
    place.parameters = parameters;
    if (!adds_) {
      if (gradients_.scale != 1) kernels::scale_into(gradient, gradients_.scale, gradient, n);
      rule_.delta(all, state_, place);
      return;
    }
    if (rule_.update(all, gradients_.scale, parameters, state_, place)) return;
    alignas(64) T tile[kTile];
    for (size_t at = 0; at < n; at += kTile) {
      const size_t m = std::min(kTile, n - at);
      const size_t offset = place.offset + at;
      const BlockPlace here{place.variable, offset, parameters_ + offset};
      kernels::prefetch_tile(gradient + at);
      kernels::prefetch_tile(parameters_ + offset);
      kernels::scale_into(gradient + at, gradients_.scale, tile, m);
      rule_.delta(std::span<T>(tile, m), state_, here);
      kernels::add_into(parameters_ + offset, tile, m);
    }
  }

  // The delta, multiplied by the scale in its place, is added.
  void add_scaled(T* parameters, T* delta, size_t n) const {
    if (gradients_.scale != 1) kernels::scale_into(delta, gradients_.scale, delta, n);
    kernels::add_into(parameters, delta, n);
  }

  T* parameters_;
  Gradients& gradients_;
  const AnyRule& rule_;
  AnyRule::State& state_;
  ThreadTeam& team_;
  bool adds_;
};

}  // namespace

namespace {

// The team of gradients while it is there.
class TeamOf {
 public:
  TeamOf(Gradients& gradients, ThreadTeam& team) : gradients_(gradients), before_(gradients.team) {
    gradients.team = &team;
  }
  ~TeamOf() { gradients_.team = before_; }
  TeamOf(const TeamOf&) = delete;
  TeamOf& operator=(const TeamOf&) = delete;

 private:
  Gradients& gradients_;
  ThreadTeam* before_;
};

}  // namespace

void prepare_updates(const Variables& variables, const Gradients& gradients, const AnyRule& rule,
                     AnyRule::State& state) {
  if (gradients.size() != variables.size())
    throw InvalidArgument("apply_updates",
                          fmt::format("{} gradients for {} variables; variables are added before "
                                      "the first step, not between steps",
                                      gradients.size(), variables.size()),
                          Where{});
  rule.prepare(state, gradients);
}

namespace {

// Whether a rule that has seen all deltas does not want them to be added. What it has counted is
// then taken back.
bool refuses(const AnyRule& rule, Gradients& deltas, AnyRule::State& state,
             const Variables& variables, const StepInfo& info) {
  StepInfo seen{.step = info.step, .examples = info.examples};
  try {
    rule.deltas(deltas, state, variables, seen);
  } catch (...) {
    rule.take_back(state);
    throw;
  }
  if (seen.skip) rule.take_back(state);
  return seen.skip;
}

}  // namespace

bool add_updates(Variables& variables, Gradients& gradients, const AnyRule& rule,
                 AnyRule::State& state, const StepInfo& info, ThreadTeam& team) {
  const FlushDenormals flush;
  const TeamOf shared(gradients, team);
  bool skips = false;
  rule.begin(state, gradients);
  rule.before(state, variables);
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Update<T> update(variables, gradients, rule, state, team);
    update.run();
    if (rule.sees_deltas()) {
      if (skips = refuses(rule, gradients, state, variables, info); skips) return;
      update.add();
      rule.remember(state);
    }
    rule.after(state, std::span<T>(ParameterWriter::block<T>(variables), variables.layout().size),
               team);
  });
  return !skips;
}

bool apply_updates(Variables& variables, Gradients& gradients, const AnyRule& rule,
                   AnyRule::State& state, const StepInfo& info, ThreadTeam& team) {
  if (info.skip) return false;
  prepare_updates(variables, gradients, rule, state);
  return add_updates(variables, gradients, rule, state, info, team);
}

}  // namespace rein
