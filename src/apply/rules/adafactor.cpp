#include "rein/apply/rules/adafactor.h"

#include <limits>
#include <numeric>

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"
#include "rein/kernels/factored.h"
#include "rein/kernels/norm.h"

namespace rein {

static_assert(Rule<Adafactor>);

namespace {

using Factors = Adafactor::State::Factors;
using State = Adafactor::State;

Factors factors_of(const Shape& shape, int64_t min_factored, DType dtype) {
  Factors f;
  const int rank = shape.rank();
  if (rank < 2 || std::min(shape[rank - 1], shape[rank - 2]) < min_factored) return f;
  f.rows = static_cast<size_t>(shape[rank - 2]);
  f.columns = static_cast<size_t>(shape[rank - 1]);
  f.batch = static_cast<size_t>(shape.size()) / (f.rows * f.columns);
  // No more than 16 blocks, as each has sums of all columns.
  f.block_rows = std::min(f.rows, std::max({size_t{1}, kTileSize / f.columns, (f.rows + 15) / 16}));
  f.blocks = (f.rows + f.block_rows - 1) / f.block_rows;
  f.row_means.resize(f.batch * f.rows);
  f.column_means.resize(f.batch * f.columns);
  f.halves.resize(f.batch);
  f.row_factors.resize(f.row_means.size());
  f.column_factors = Buffer(f.column_means.size() * size_of(dtype));
  return f;
}

// Calls work(block, matrix, first row, last row) for blocks of rows, which count through all
// matrices. Whatever is done to a block, the same thread begins with it.
template <class F>
void for_row_blocks(ThreadTeam* team, const Factors& f, F&& work) {
  const size_t at_once = std::max<size_t>(1, kTileSize / (f.block_rows * f.columns));
  for_ranges(team, f.batch * f.blocks, at_once, [&](size_t begin, size_t end) {
    for (size_t block = begin; block < end; ++block) {
      const size_t matrix = block / f.blocks, first = block % f.blocks * f.block_rows;
      work(block, matrix, matrix * f.rows + first,
           matrix * f.rows + std::min(f.rows, first + f.block_rows));
    }
  });
}

double sum_of_blocks(const State& state, const Factors& f) {
  const double* const parts = state.parts.data();
  return std::accumulate(parts, parts + f.batch * f.blocks, 0.0);
}

// g = scale g. Means of rows decay towards those of g^2 + add, and the squares are added up by
// columns. The sum of the squares of w, if there are any.
template <class T>
double update_rows(ThreadTeam* team, T* g, double scale, const T* w, State& state, Factors& f,
                   double fresh, double add) {
  const size_t n = f.columns;
  for_row_blocks(team, f, [&](size_t block, size_t, size_t first, size_t last) {
    double* const sums = &state.column_sums[block * n];
    std::fill_n(sums, n, 0.0);
    double w_square = 0;
    for (size_t row = first; row < last; ++row) {
      const double sum = kernels::row_squares(g + row * n, scale, sums, n);
      double& mean = f.row_means[row];
      mean += fresh * (sum / static_cast<double>(n) + add - mean);
      if (w) w_square += kernels::sum_of_squares(w + row * n, n);
    }
    state.parts[block] = w_square;
  });
  return sum_of_blocks(state, f);
}

// As T, the largest number for what is larger: 0 times it is 0.
template <class T>
T finite(double x) {
  return static_cast<T>(std::min(x, static_cast<double>(std::numeric_limits<T>::max())));
}

double inverse_root(double mean) {
  return 1 / std::sqrt(std::max(mean, std::numeric_limits<double>::min()));
}

// Means of columns, and what is to be multiplied by.
template <class T>
void update_columns(ThreadTeam* team, State& state, Factors& f, double fresh, double add,
                    double least) {
  T* const factors = reinterpret_cast<T*>(f.column_factors.data());
  for (size_t b = 0; b < f.batch; ++b) {
    const double* const r = f.row_means.data() + b * f.rows;
    const double mean = std::accumulate(r, r + f.rows, 0.0) / static_cast<double>(f.rows);
    f.halves[b] = std::sqrt(std::sqrt(std::max(mean, least)));
    double* const sums = &state.column_sums[b * f.blocks * f.columns];
    for_ranges(team, f.columns, kTileSize / f.blocks, [&](size_t begin, size_t end) {
      for (size_t k = 1; k < f.blocks; ++k)
        for (size_t j = begin; j < end; ++j) sums[j] += sums[k * f.columns + j];
      for (size_t j = begin; j < end; ++j) {
        double& column = f.column_means[b * f.columns + j];
        column += fresh * (sums[j] / static_cast<double>(f.rows) + add - column);
        factors[b * f.columns + j] = finite<T>(f.halves[b] * inverse_root(column));
      }
    });
  }
}

template <class T>
kernels::RowFactors<T> factors_of_row(const Factors& f, size_t matrix, size_t row, double least) {
  return {.row = finite<T>(f.row_factors[row]),
          .columns = reinterpret_cast<const T*>(f.column_factors.data()) + matrix * f.columns,
          .bounded = least > 0,
          .most = finite<T>(1 / least)};
}

// The sum of the squares of u.
template <class T>
double divided_squares(ThreadTeam* team, const T* g, State& state, Factors& f, double least) {
  for_row_blocks(team, f, [&](size_t block, size_t matrix, size_t first, size_t last) {
    double sum = 0;
    for (size_t row = first; row < last; ++row) {
      f.row_factors[row] = f.halves[matrix] * inverse_root(f.row_means[row]);
      sum += kernels::factored_squares(g + row * f.columns,
                                       factors_of_row<T>(f, matrix, row, least), f.columns);
    }
    state.parts[block] = sum;
  });
  return sum_of_blocks(state, f);
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
  state.parts = parts_for<2>(variables);
  std::vector<bool> by_elements;
  for (const auto& entry : variables.layout().entries) {
    state.factors.push_back(factors_of(entry.spec.shape, min_factored, variables.dtype()));
    const Factors& f = state.factors.back();
    by_elements.push_back(f.batch == 0);
    const size_t blocks = f.batch * f.blocks;
    state.parts.resize(std::max(state.parts.size(), blocks));
    state.column_sums.resize(std::max(state.column_sums.size(), blocks * f.columns));
  }
  state.v = Slot("v", variables, by_elements);
  return state;
}

void Adafactor::begin(State& state, const Gradients& gradients) const {
  state.count.advance(gradients);
}

namespace {

template <class T>
void step(const Adafactor& rule, std::span<T> d, double scale, DeltaSink<T> sink, State& state,
          BlockPlace place) {
  ThreadTeam* const team = place.team;
  const T* const w = place.weights<T>();
  Factors& f = state.factors[place.variable];
  const bool as_pytorch = rule.form == RuleForm::pytorch, weighs = rule.scale_by_weights;
  const double t = step_number(state.count, rule.form, place.variable);
  const double fresh = std::pow(t, rule.beta2_decay), n = static_cast<double>(d.size());
  const double pull = state.rate * rule.weight_decay;
  const double add = as_pytorch ? 0 : rule.epsilon1, least = as_pytorch ? rule.epsilon1 : 0;

  double u_square = 0, w_square = 0;
  if (f.batch > 0) {
    w_square = update_rows<T>(team, d.data(), scale, weighs ? w : nullptr, state, f, fresh, add);
    update_columns<T>(team, state, f, fresh, add, least);
    u_square = divided_squares<T>(team, d.data(), state, f, least);
  } else {
    T* const v = state.v.of<T>(place.variable);
    const T of_new = static_cast<T>(fresh), added = static_cast<T>(add);
    const T at_least = std::max(static_cast<T>(least * least), std::numeric_limits<T>::min());
    const auto sums = sum_tiles<2>(team, d.size(), state.parts, [&](size_t begin, size_t end) {
      std::array<double, 2> squares{};
      for_blocks<T>(begin, end, {d.data(), v}, [&](size_t from, size_t to) {
        if (scale != 1) kernels::scale_into(&d[from], scale, &d[from], to - from);
        for (size_t i = from; i < to; ++i) {
          v[i] += of_new * (d[i] * d[i] + added - v[i]);
          d[i] /= std::sqrt(std::max(v[i], at_least));
        }
        squares[0] += kernels::sum_of_squares(&d[from], to - from);
        if (weighs) squares[1] += kernels::sum_of_squares(w + from, to - from);
      });
      return squares;
    });
    u_square = sums[0], w_square = sums[1];
  }

  double rate = rule.relative_step ? std::min(state.rate, 1 / std::sqrt(t)) : state.rate;
  if (weighs) {
    // Keras decays the weights before it looks at them.
    const double left = as_pytorch ? 1 : std::abs(1 - pull);
    rate *= std::max(rule.epsilon2, left * std::sqrt(w_square / n));
  }
  rate /= std::max(1.0, std::sqrt(u_square / n) / rule.clip_threshold);

  if (f.batch > 0) {
    for_row_blocks(team, f, [&](size_t, size_t matrix, size_t first, size_t last) {
      for (size_t row = first; row < last; ++row) {
        const auto by = factors_of_row<T>(f, matrix, row, least);
        const size_t at = row * f.columns;
        if (sink.parameters)
          kernels::factored_update(&d[at], by, -rate, -pull, sink.parameters + at, f.columns);
        else
          kernels::factored_delta(&d[at], by, -rate, -pull, w + at, &d[at], f.columns);
      }
    });
    return;
  }
  for_tiles(team, d.size(), [&](size_t begin, size_t end) {
    for_blocks<T>(begin, end, {d.data(), w}, [&](size_t from, size_t to) {
      sink.put(from, to,
               [&](T* out) { kernels::combine(-rate, &d[from], -pull, w + from, out, to - from); });
    });
  });
}

}  // namespace

template <class T>
void Adafactor::delta(std::span<T> d, State& state, BlockPlace place) const {
  step(*this, d, 1, {d.data(), nullptr}, state, place);
}
template <class T>
bool Adafactor::update(std::span<T> gradient, double scale, T* parameters, State& state,
                       BlockPlace place) const {
  step(*this, gradient, scale, {gradient.data(), parameters}, state, place);
  return true;
}
template void Adafactor::delta(std::span<float>, State&, BlockPlace) const;
template void Adafactor::delta(std::span<double>, State&, BlockPlace) const;
template bool Adafactor::update(std::span<float>, double, float*, State&, BlockPlace) const;
template bool Adafactor::update(std::span<double>, double, double*, State&, BlockPlace) const;

}  // namespace rein
