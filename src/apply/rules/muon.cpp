#include "rein/apply/rules/muon.h"

#include <fmt/format.h>

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"
#include "process/patterns.h"
#include "rein/kernels/gemm.h"

namespace rein {

static_assert(Rule<Muon>);

std::string_view to_string(MuonScale scale) {
  return scale == MuonScale::original ? "original" : "rms";
}

namespace {

using kernels::Trans;

// Memory for one matrix [rows, columns]: x and its successor, and two products of the shorter side.
template <class T>
struct Work {
  Work(std::byte* memory, int64_t rows, int64_t columns) {  // null: `bytes` alone is of use
    const int64_t shorter = std::min(rows, columns);
    const auto here = [&] { return memory ? memory + bytes : nullptr; };
    const auto take = [&](int64_t n) {
      T* const p = reinterpret_cast<T*>(here());
      bytes += (static_cast<size_t>(n) * sizeof(T) + 63) / 64 * 64;
      return p;
    };
    x = take(rows * columns);
    next = take(rows * columns);
    gram = take(shorter * shorter);
    gram2 = take(shorter * shorter);
    gemm_scratch = here();
    bytes += kernels::gemm_scratch_bytes<T>(Trans::yes, rows, rows, columns);
  }
  T *x, *next, *gram, *gram2;
  std::byte* gemm_scratch;
  size_t bytes = 0;
};

template <class T>
size_t work_bytes(int64_t rows, int64_t columns) {
  return Work<T>(nullptr, rows, columns).bytes;
}

// Brings the singular values of work.x near 1.
template <class T>
void orthogonalize(Work<T>& work, int64_t rows, int64_t columns, int64_t iterations,
                   ThreadTeam& team) {
  const T a = static_cast<T>(3.4445), b = static_cast<T>(-4.775), c = static_cast<T>(2.0315);
  const bool wide = rows <= columns;
  const int64_t shorter = std::min(rows, columns);
  const auto n = static_cast<size_t>(rows * columns);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += square(work.x[i]);
  const T inverse = static_cast<T>(1 / std::max(std::sqrt(sum), 1e-7));
  for (size_t i = 0; i < n; ++i) work.x[i] *= inverse;
  for (int64_t k = 0; k < iterations; ++k) {
    kernels::gemm<T>(team, wide ? Trans::no : Trans::yes, wide ? Trans::yes : Trans::no, shorter,
                     shorter, wide ? columns : rows, work.x, columns, work.x, columns, 0, work.gram,
                     shorter, work.gemm_scratch);
    kernels::gemm<T>(team, Trans::no, Trans::no, shorter, shorter, shorter, work.gram, shorter,
                     work.gram, shorter, 0, work.gram2, shorter, nullptr);
    for (size_t i = 0; i < static_cast<size_t>(shorter * shorter); ++i)
      work.gram2[i] = b * work.gram[i] + c * work.gram2[i];
    for (size_t i = 0; i < n; ++i) work.next[i] = a * work.x[i];
    const T* left = wide ? work.gram2 : work.x;
    const T* right = wide ? work.x : work.gram2;
    kernels::gemm<T>(team, Trans::no, Trans::no, rows, columns, shorter, left,
                     wide ? shorter : columns, right, wide ? columns : shorter, 1, work.next,
                     columns, nullptr);
    std::swap(work.x, work.next);
  }
}

bool is_matrix(const Muon::State& state, size_t variable) {
  return state.shapes[variable].rank() == 2;
}

}  // namespace

SparseUpdate Muon::sparse_update(State& state, size_t variable) const {
  return is_matrix(state, variable) ? SparseUpdate::dense
                                    : others.sparse_update(state.others, variable);
}

bool Muon::whole_variable(State& state, size_t variable) const {
  return is_matrix(state, variable) || others.whole_variable(state.others, variable);
}

Muon::State Muon::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::pytorch, RuleForm::optax});
  if (iterations < 0)
    reject(name, "iterations", "a number from 0 on", static_cast<double>(iterations));
  if (column_blocks < 1)
    reject(name, "column_blocks", "a number from 1 on", static_cast<double>(column_blocks));
  check_part(name, others);
  const std::string_view pattern = matrices;
  const std::vector<size_t> match = first_matches(name, {&pattern, 1}, variables);
  State state;
  state.count.start(variables);
  size_t bytes = 0;
  std::vector<bool> own;
  for (const auto& entry : variables.layout().entries) {
    const Shape& shape = entry.spec.shape;
    const bool ours = shape.rank() == 2 && match[own.size()] == 0;
    own.push_back(ours);
    state.shapes.push_back(ours ? shape : Shape{});
    if (!ours) continue;
    if (shape[1] % column_blocks != 0)
      throw InvalidArgument(name,
                            fmt::format("the {} columns of '{}' cannot be cut into {} blocks; name "
                                        "the matrices that can in `matrices`",
                                        shape[1], entry.name, column_blocks),
                            Where{});
    visit_float(variables.dtype(), [&](auto zero) {
      bytes = std::max(bytes, work_bytes<decltype(zero)>(shape[0], shape[1] / column_blocks));
    });
  }
  state.scratch = Buffer(bytes);
  state.velocity = Slot("momentum", variables, own);
  own.flip();
  Part part = init_part(others, variables, own);
  state.others = std::move(part.state);
  state.shift = std::move(part.shift);
  return state;
}

void Muon::prepare(State& state, const Gradients& gradients) const {
  state.rate = next_rate(*this, state);
  others.prepare(state.others, gradients);
}

void Muon::begin(State& state, const Gradients& gradients) const {
  others.begin(state.others, gradients);
  state.count.advance(gradients);
}

void Muon::before(State& state, const Variables& variables) const {
  others.before(state.others, variables);
}

template <class T>
void Muon::delta(std::span<T> d, State& state, BlockPlace place) const {
  if (!is_matrix(state, place.variable)) {
    others.delta(d, state.others, place_in(state.shift, place));
    return;
  }
  T* const a = state.velocity.of<T>(place.variable);
  const T mu = static_cast<T>(momentum), fresh = static_cast<T>(1 - momentum);
  double of_g = use_nesterov ? 1 - momentum : 0, of_a = use_nesterov ? momentum : 1;
  if (form == RuleForm::optax && use_nesterov) {
    const double t = step_number(state.count, form, place.variable);
    of_g /= 1 - std::pow(momentum, t);
    of_a /= 1 - std::pow(momentum, t + 1);
  }
  const T from_g = static_cast<T>(of_g), from_a = static_cast<T>(of_a);
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      a[i] = mu * a[i] + fresh * d[i];
      d[i] = from_g * d[i] + from_a * a[i];
    }
  });

  const int64_t rows = state.shapes[place.variable][0], all = state.shapes[place.variable][1];
  const int64_t columns = all / column_blocks;
  const double sides = static_cast<double>(columns) / static_cast<double>(rows);
  const T step = static_cast<T>(
      -state.rate * (scale == MuonScale::original
                         ? std::sqrt(std::max(1.0, sides))
                         : 0.2 * std::sqrt(static_cast<double>(std::max(rows, columns)))));
  ThreadTeam alone(1);
  for (int64_t block = 0; block < column_blocks; ++block) {
    Work<T> work(state.scratch.data(), rows, columns);
    T* const part = d.data() + block * columns;
    for (int64_t i = 0; i < rows; ++i) std::copy_n(part + i * all, columns, work.x + i * columns);
    orthogonalize(work, rows, columns, iterations, place.team ? *place.team : alone);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) part[i * all + j] = step * work.x[i * columns + j];
  }
  add_weights(d, place, -state.rate * weight_decay);
}
template void Muon::delta(std::span<float>, State&, BlockPlace) const;
template void Muon::delta(std::span<double>, State&, BlockPlace) const;

Tensor Muon::average(State& state, const Variable& variable) const {
  return is_matrix(state, variable.index) ? variable.read()
                                          : others.average(state.others, variable);
}

}  // namespace rein
