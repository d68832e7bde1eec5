#include "rein/apply/rules/adafactor.h"

#include <limits>
#include <numeric>

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"
#include "rein/kernels/norm.h"

namespace rein {

static_assert(Rule<Adafactor>);

namespace {

using Factors = Adafactor::State::Factors;

Factors factors_of(const Shape& shape, int64_t min_factored, DType dtype) {
  Factors factors;
  const int rank = shape.rank();
  if (rank < 2 || std::min(shape[rank - 1], shape[rank - 2]) < min_factored) return factors;
  factors.rows = shape[rank - 2];
  factors.columns = shape[rank - 1];
  factors.batch = shape.size() / (factors.rows * factors.columns);
  factors.row_means.resize(static_cast<size_t>(factors.batch * factors.rows));
  factors.column_means.resize(static_cast<size_t>(factors.batch * factors.columns));
  factors.row_factors.resize(factors.row_means.size());
  factors.column_factors = Buffer(factors.column_means.size() * size_of(dtype));
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
    const double sum = kernels::sum_of_squares(g + row * f.columns, static_cast<size_t>(f.columns));
    double& mean = f.row_means[static_cast<size_t>(row)];
    mean += fresh * (sum / static_cast<double>(f.columns) + add - mean);
  });
  // Columns in groups that share cache lines.
  constexpr int64_t kGroup = 256;
  const int64_t groups = (f.columns + kGroup - 1) / kGroup;
  for_items(team, f.batch * groups, f.rows * kGroup, [&](int64_t at) {
    const int64_t first = at % groups * kGroup, count = std::min(kGroup, f.columns - first);
    const T* block = g + at / groups * f.rows * f.columns + first;
    double sums[kGroup] = {};
    for (int64_t i = 0; i < f.rows; ++i)
      kernels::add_squares(sums, block + i * f.columns, static_cast<size_t>(count));
    double* means = f.column_means.data() + at / groups * f.columns + first;
    for (int64_t j = 0; j < count; ++j)
      means[j] += fresh * (sums[j] / static_cast<double>(f.rows) + add - means[j]);
  });
}

// As T, the largest number for what is larger: 0 times it is 0.
template <class T>
T finite(double x) {
  return static_cast<T>(std::min(x, static_cast<double>(std::numeric_limits<T>::max())));
}

double inverse_root(double mean) {
  return 1 / std::sqrt(std::max(mean, std::numeric_limits<double>::min()));
}

// g = g / sqrt(max(R C / mean(R), least^2)), mean(R) at least `least`; the sum of the squares. Each
// of the two factors gets half of mean(R), and they multiply g one after the other: their product
// may be infinite where that with g is not.
template <class T>
double divide_by_means(ThreadTeam* team, T* g, Factors& f, double least) {
  const auto rows = static_cast<size_t>(f.rows), columns = static_cast<size_t>(f.columns);
  T* const of_columns = reinterpret_cast<T*>(f.column_factors.data());
  for (size_t b = 0; b < static_cast<size_t>(f.batch); ++b) {
    const double* const r = f.row_means.data() + b * rows;
    const double mean =
        std::max(std::accumulate(r, r + rows, 0.0) / static_cast<double>(rows), least);
    const double half = std::sqrt(std::sqrt(mean));
    for (size_t i = 0; i < rows; ++i) f.row_factors[b * rows + i] = half * inverse_root(r[i]);
    for (size_t j = b * columns; j < (b + 1) * columns; ++j)
      of_columns[j] = finite<T>(half * inverse_root(f.column_means[j]));
  }
  const T most = finite<T>(1 / least);
  for_items(team, f.batch * f.rows, f.columns, [&](int64_t at) {
    const auto row = static_cast<size_t>(at);
    const T of_row = finite<T>(f.row_factors[row]);
    const T* const of_column = of_columns + row / rows * columns;
    T* const u = g + row * columns;
    if (least == 0)
      for (size_t j = 0; j < columns; ++j) u[j] = u[j] * of_row * of_column[j];
    else
      for (size_t j = 0; j < columns; ++j) {
        const T bound = std::abs(u[j]) * most, wanted = u[j] * of_row * of_column[j];
        u[j] = std::max(std::min(wanted, bound), -bound);
      }
    f.row_factors[row] = kernels::sum_of_squares(u, columns);
  });
  return std::accumulate(f.row_factors.begin(), f.row_factors.end(), 0.0);
}

}  // namespace

Adafactor::State Adafactor::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::keras, RuleForm::pytorch});
  if (!(beta2_decay <= 0) || std::isinf(beta2_decay))
    reject(name, "beta2_decay", "a finite number up to 0", beta2_decay);
  check_from_zero(name, "epsilon1", epsilon1);
  check_from_zero(name, "epsilon2", epsilon2);
  if (min_factored < 0)
    reject(name, "min_factored", "a number from 0 on", static_cast<double>(min_factored));
  if (!(clip_threshold > 0)) reject(name, "clip_threshold", "above 0", clip_threshold);
  State state;
  state.count.start(variables);
  state.parts = parts_for<1>(variables);
  for (const auto& entry : variables.layout().entries)
    state.factors.push_back(factors_of(entry.spec.shape, min_factored, variables.dtype()));
  state.v = Slot("v", variables);
  return state;
}

void Adafactor::begin(State& state, const Gradients& gradients) const {
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
  const double add = as_pytorch ? 0 : epsilon1, least = as_pytorch ? epsilon1 : 0;

  // Gradients turn into u; its squares are added up.
  double u_square = 0;
  if (f.batch > 0) {
    update_means(place.team, d.data(), f, fresh, add);
    u_square = divide_by_means(place.team, d.data(), f, least);
  } else {
    T* const v = block_of<T>(state.v, place);
    const T of_new = static_cast<T>(fresh), added = static_cast<T>(add);
    const T at_least = std::max(static_cast<T>(least * least), std::numeric_limits<T>::min());
    u_square = sum_tiles<1>(place.team, d.size(), state.parts,
                            [&](size_t begin, size_t end) -> std::array<double, 1> {
                              for (size_t i = begin; i < end; ++i) {
                                v[i] += of_new * (d[i] * d[i] + added - v[i]);
                                d[i] /= std::sqrt(std::max(v[i], at_least));
                              }
                              return {kernels::sum_of_squares(&d[begin], end - begin)};
                            })[0];
  }

  double step = relative_step ? std::min(state.rate, 1 / std::sqrt(t)) : state.rate;
  if (scale_by_weights) {
    const double w_square = sum_tiles<1>(place.team, d.size(), state.parts,
                                         [&](size_t begin, size_t end) -> std::array<double, 1> {
                                           return {kernels::sum_of_squares(w + begin, end - begin)};
                                         })[0];
    // Keras decays the weights before it looks at them.
    const double left = as_pytorch ? 1 : std::abs(1 - pull);
    step *= std::max(epsilon2, left * std::sqrt(w_square / n));
  }
  step /= std::max(1.0, std::sqrt(u_square / n) / clip_threshold);
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    kernels::combine(-step, &d[begin], -pull, w + begin, &d[begin], end - begin);
  });
}
template void Adafactor::delta(std::span<float>, State&, BlockPlace) const;
template void Adafactor::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
