#include "rein/apply/rules/adafactor.h"

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"

namespace rein {

static_assert(Rule<Adafactor>);

namespace {

using Factors = Adafactor::State::Factors;

Factors factors_of(const Shape& shape, int64_t min_factored) {
  Factors factors;
  const int rank = shape.rank();
  if (rank < 2 || std::min(shape[rank - 1], shape[rank - 2]) < min_factored) return factors;
  factors.rows = shape[rank - 2];
  factors.columns = shape[rank - 1];
  factors.batch = shape.size() / (factors.rows * factors.columns);
  factors.row_means.resize(static_cast<size_t>(factors.batch * factors.rows));
  factors.column_means.resize(static_cast<size_t>(factors.batch * factors.columns));
  return factors;
}

// Cuts [0, n) so that a piece is about `work` numbers of the `each` that every item has.
template <class F>
void for_items(ThreadTeam* team, int64_t n, int64_t each, F&& f) {
  const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(kTileSize) / each);
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  };
  if (team)
    team->run_ranges(n, grain, run);
  else
    run(0, n);
}

// Decays the means towards those of g^2 + add.
template <class T>
void update_means(ThreadTeam* team, const T* g, Factors& f, double fresh, double add) {
  for_items(team, f.batch * f.rows, f.columns, [&](int64_t row) {
    double sum = 0;
    for (int64_t j = 0; j < f.columns; ++j) sum += square(g[row * f.columns + j]);
    double& mean = f.row_means[static_cast<size_t>(row)];
    mean += fresh * (sum / static_cast<double>(f.columns) + add - mean);
  });
  // Columns in groups that share cache lines.
  constexpr int64_t kGroup = 64;
  const int64_t groups = (f.columns + kGroup - 1) / kGroup;
  for_items(team, f.batch * groups, f.rows * kGroup, [&](int64_t at) {
    const int64_t first = at % groups * kGroup, count = std::min(kGroup, f.columns - first);
    const T* block = g + at / groups * f.rows * f.columns + first;
    double sums[kGroup] = {};
    for (int64_t i = 0; i < f.rows; ++i)
      for (int64_t j = 0; j < count; ++j) sums[j] += square(block[i * f.columns + j]);
    double* means = f.column_means.data() + at / groups * f.columns + first;
    for (int64_t j = 0; j < count; ++j)
      means[j] += fresh * (sums[j] / static_cast<double>(f.rows) + add - means[j]);
  });
}

}  // namespace

Adafactor::State Adafactor::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::keras, RuleForm::pytorch});
  if (!(beta2_decay <= 0) || std::isinf(beta2_decay))
    reject(name, "beta2_decay", "a finite number up to 0", beta2_decay);
  check_from_zero(name, "epsilon1", epsilon1);
  check_from_zero(name, "epsilon2", epsilon2);
  if (!(clip_threshold > 0)) reject(name, "clip_threshold", "above 0", clip_threshold);
  State state;
  state.count.start(variables);
  state.parts = parts_for<1>(variables);
  for (const auto& entry : variables.layout().entries)
    state.factors.push_back(factors_of(entry.spec.shape, min_factored));
  state.v = Slot("v", variables);
  return state;
}

void Adafactor::begin(State& state, const Gradients& gradients) const {
  state.rate = next_rate(*this, state);
  state.count.advance(gradients);
}

template <class T>
void Adafactor::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const w = place.weights<T>();
  Factors& f = state.factors[place.variable];
  const bool as_pytorch = form == RuleForm::pytorch;
  const double t = step_number(state.count, form, place.variable);
  const double fresh = std::pow(t, beta2_decay), n = static_cast<double>(d.size());
  const double pull = state.rate * weight_decay;
  const double add = as_pytorch ? 0 : epsilon1, least = as_pytorch ? epsilon1 * epsilon1 : 0;

  // Gradients turn into u; its squares are added up.
  double u_square = 0;
  const auto scaled = [&](size_t i, double v) {
    d[i] = static_cast<T>(static_cast<double>(d[i]) / std::sqrt(std::max(v, least)));
    return square(d[i]);
  };
  if (f.batch > 0) {
    update_means(place.team, d.data(), f, fresh, add);
    const auto rows = static_cast<size_t>(f.rows), columns = static_cast<size_t>(f.columns);
    for (size_t b = 0; b < static_cast<size_t>(f.batch); ++b) {
      const double* r = f.row_means.data() + b * rows;
      const double* c = f.column_means.data() + b * columns;
      double mean = 0;
      for (size_t i = 0; i < rows; ++i) mean += r[i] / static_cast<double>(rows);
      if (as_pytorch) mean = std::max(mean, epsilon1);
      u_square += sum_tiles<1>(place.team, rows * columns, state.parts,
                               [&](size_t begin, size_t end) -> std::array<double, 1> {
                                 double sum = 0;
                                 for (size_t i = begin; i < end; ++i)
                                   sum += scaled(b * rows * columns + i,
                                                 r[i / columns] / mean * c[i % columns]);
                                 return {sum};
                               })[0];
    }
  } else {
    T* const v = state.v.data<T>() + place.offset;
    u_square = sum_tiles<1>(place.team, d.size(), state.parts,
                            [&](size_t begin, size_t end) -> std::array<double, 1> {
                              double sum = 0;
                              for (size_t i = begin; i < end; ++i) {
                                const double old = static_cast<double>(v[i]);
                                v[i] = static_cast<T>(old + fresh * (square(d[i]) + add - old));
                                sum += scaled(i, static_cast<double>(v[i]));
                              }
                              return {sum};
                            })[0];
  }

  double step = relative_step ? std::min(state.rate, 1 / std::sqrt(t)) : state.rate;
  if (scale_by_weights) {
    const double w_square = sum_tiles<1>(place.team, d.size(), state.parts,
                                         [&](size_t begin, size_t end) -> std::array<double, 1> {
                                           double sum = 0;
                                           for (size_t i = begin; i < end; ++i) sum += square(w[i]);
                                           return {sum};
                                         })[0];
    // Keras decays the weights before it looks at them.
    const double left = as_pytorch ? 1 : std::abs(1 - pull);
    step *= std::max(epsilon2, left * std::sqrt(w_square / n));
  }
  step /= std::max(1.0, std::sqrt(u_square / n) / clip_threshold);
  const T of_u = static_cast<T>(-step), of_w = static_cast<T>(-pull);
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) d[i] = of_u * d[i] + of_w * w[i];
  });
}
template void Adafactor::delta(std::span<float>, State&, BlockPlace) const;
template void Adafactor::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
