// Norms of the gradients of single examples, without the gradients.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "compute/ops/example_sums.h"
#include "compute/ops/rules.h"
#include "rein/kernels/gemm.h"
#include "rein/kernels/norm.h"

namespace rein {
namespace {

using kernels::Trans;

constexpr std::string_view kNormsAreNumbers = "norms of examples are numbers, not functions";
constexpr int64_t kTasks = 16;  // at most, each with scratch memory of its own

int64_t tasks_of(int64_t batch) { return std::min(batch, kTasks); }

template <class F>
void for_each_example(ThreadTeam& team, int64_t batch, const F& f) {
  const int64_t tasks = tasks_of(batch);
  team.run(tasks, [&](int64_t task) {
    for (int64_t e = batch * task / tasks; e < batch * (task + 1) / tasks; ++e) f(e, task);
  });
}

// What brings numbers, of which this is the largest, near 1: a power of two. Squares of doubles
// overflow and vanish; those of floats in double do not.
double unit_factor(double largest) {
  if (largest == 0 || !std::isfinite(largest)) return 1;
  return std::ldexp(1.0, -std::clamp(std::ilogb(largest), -1000, 1000));
}
double largest_double(const float*, int64_t) { return 0; }
double largest_double(const double* x, int64_t n) {
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest;
}

// Eight sums side by side, which the compiler makes vectors of.
double dot(const double* x, const double* y, int64_t n) {
  constexpr int64_t kSide = 8;
  double sums[kSide] = {};
  int64_t i = 0;
  for (; i + kSide <= n; i += kSide)
    for (int64_t k = 0; k < kSide; ++k) sums[k] += x[i + k] * y[i + k];
  for (; i < n; ++i) sums[0] += x[i] * y[i];
  return std::accumulate(sums, sums + kSide, 0.0);
}

double norm_of(const float* x, int64_t n) {
  return std::sqrt(kernels::sum_of_squares(x, static_cast<size_t>(n)));
}
double norm_of(const double* x, int64_t n) {
  const double sum = kernels::sum_of_squares(x, static_cast<size_t>(n));
  if (sum > 1e-280 && sum < 1e300) return std::sqrt(sum);
  const double factor = unit_factor(largest_double(x, n));
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += (x[i] * factor) * (x[i] * factor);
  return std::sqrt(squares) / factor;
}

// Copies the rows of example e in every second argument, from `first` on, one behind the other.
// Returns what they were multiplied by.
template <class T, class To>
double gather_rows(Ins in, size_t first, std::span<const int64_t> inner, int64_t batch, int64_t e,
                   To* to) {
  To* end = to;
  double largest = 0;
  for (size_t i = first; i < in.size(); i += 2) {
    const int64_t run = inner[i / 2] * in[i].shape()[1];
    for (int64_t at = e * run; at < in[i].size(); at += batch * run) {
      end = std::copy_n(in[i].as<T>() + at, run, end);
      largest = std::max(largest, largest_double(in[i].as<T>() + at, run));
    }
  }
  const double factor = unit_factor(largest);
  if (factor != 1)
    for (To* x = to; x != end; ++x) *x = static_cast<To>(static_cast<double>(*x) * factor);
  return factor;
}

struct ExampleNorms {  // a, b, a, b, ...
  static constexpr std::string_view name = "example_norms";
  static constexpr std::string_view no_gradient = kNormsAreNumbers;
  int64_t batch = 1;
  std::vector<int64_t> inner;  // of each pair
  bool operator==(const ExampleNorms&) const = default;

  Spec infer(Specs in) const {
    require(in.size() == 2 * inner.size() && !in.empty(), "needs pairs of matrices");
    for (size_t i = 0; i < in.size(); ++i) {
      require_floating(in[i]);
      require_same_dtype(in[i], in[0]);
      require(in[i].shape.rank() == 2 && in[i].shape[1] == in[i % 2].shape[1], "the widths differ");
      require(in[i].shape[0] == in[i / 2 * 2].shape[0], "pairs need equally many rows");
      require(inner[i / 2] > 0 && in[i].shape[0] % (inner[i / 2] * batch) == 0,
              "rows are whole batches");
    }
    return {Shape{batch}, DType::float64};
  }

  struct Sizes {
    int64_t rows = 0, a = 0, b = 0;  // of an example, all pairs together; widths
    bool products_of_rows = false;   // or one product a^T b, whatever costs less
  };
  template <class Arguments, class ShapeOf>
  Sizes sizes(DType dtype, const Arguments& in, const ShapeOf& shape_of) const {
    Sizes s{.a = shape_of(in[0])[1], .b = shape_of(in[1])[1]};
    for (size_t i = 0; i < in.size(); i += 2) s.rows += shape_of(in[i])[0] / batch;
    // Half of all pairs of rows; and a product of floats is that much faster than loops in double.
    const int64_t times = dtype == DType::float32 ? 16 : 1;
    s.products_of_rows = times * s.rows * (s.a + s.b) < 2 * s.a * s.b;
    return s;
  }

  static constexpr int64_t kColumns = 128;  // of the product at a time
  // In elements: of double, or of the type of the arguments.
  static int64_t room(const Sizes& s) {
    if (s.rows == 1) return 0;
    return s.rows * (s.a + s.b) + (s.products_of_rows ? 0 : s.a * std::min(s.b, kColumns));
  }
  size_t scratch(Specs in) const {
    const Sizes s = sizes(in[0].dtype, in, [](const Spec& x) -> const Shape& { return x.shape; });
    const size_t element = s.products_of_rows ? sizeof(double) : size_of(in[0].dtype);
    return static_cast<size_t>(tasks_of(batch) * room(s)) * element;
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const Sizes s = sizes(in[0].dtype(), in, [](const In& x) -> const Shape& { return x.shape(); });
    auto* norms = out[0].as<double>();
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      for_each_example(run.team, batch, [&](int64_t e, int64_t task) {
        if (s.rows == 1)
          norms[e] = norm_of(in[0].as<T>() + e * s.a, s.a) * norm_of(in[1].as<T>() + e * s.b, s.b);
        else if (s.products_of_rows)
          norms[e] = by_rows<T>(s, in, e, reinterpret_cast<double*>(run.scratch) + task * room(s));
        else
          norms[e] = by_product<T>(s, in, e, reinterpret_cast<T*>(run.scratch) + task * room(s));
      });
    });
  }

  template <class T>
  double by_rows(const Sizes& s, Ins in, int64_t e, double* scratch) const {
    double *a = scratch, *b = a + s.rows * s.a;
    const double factor =
        gather_rows<T>(in, 0, inner, batch, e, a) * gather_rows<T>(in, 1, inner, batch, e, b);
    double square = 0;
    for (int64_t t = 0; t < s.rows; ++t)
      for (int64_t u = 0; u <= t; ++u)
        square += (u < t ? 2 : 1) * dot(a + t * s.a, a + u * s.a, s.a) *
                  dot(b + t * s.b, b + u * s.b, s.b);
    return std::sqrt(square < 0 ? 0 : square) / factor;  // a NaN stays
  }

  template <class T>
  double by_product(const Sizes& s, Ins in, int64_t e, T* scratch) const {
    T *a = scratch, *b = a + s.rows * s.a, *product = b + s.rows * s.b;
    const double factor =
        gather_rows<T>(in, 0, inner, batch, e, a) * gather_rows<T>(in, 1, inner, batch, e, b);
    double squares = 0;
    for (int64_t from = 0; from < s.b; from += kColumns) {
      const int64_t n = std::min(kColumns, s.b - from);
      kernels::gemm_tile<T>(Trans::yes, Trans::no, s.a, n, s.rows, a, s.a, b + from, s.b, T{0},
                            product, n);
      squares += kernels::sum_of_squares(product, static_cast<size_t>(s.a * n));
    }
    return std::sqrt(squares) / factor;
  }
};

struct ExampleSizes {  // values [batch, n]
  static constexpr std::string_view name = "example_sizes";
  static constexpr std::string_view no_gradient = kNormsAreNumbers;
  bool operator==(const ExampleSizes&) const = default;

  Spec infer(Specs in) const {
    require_floating(in[0]);
    require(in[0].shape.rank() == 2, "needs a row an example");
    return {Shape{in[0].shape[0]}, DType::float64};
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const int64_t width = in[0].shape()[1];
    visit_float(in[0].dtype(), [&](auto zero) {
      for_each_example(run.team, out[0].size(), [&](int64_t e, int64_t) {
        out[0].as<double>()[e] = norm_of(in[0].as<decltype(zero)>() + e * width, width);
      });
    });
  }
};

struct ExampleRowNorms {  // indices, values
  static constexpr std::string_view name = "example_row_norms";
  static constexpr std::string_view no_gradient = kNormsAreNumbers;
  int64_t batch = 1, inner = 1;
  bool operator==(const ExampleRowNorms&) const = default;

  Spec infer(Specs in) const {
    require_integer(in[0]);
    require_floating(in[1]);
    require(in[1].shape.rank() == 2 && in[0].shape == Shape{in[1].shape[0]},
            "needs indices [n] and rows [n, width]");
    require(inner > 0 && in[1].shape[0] % (inner * batch) == 0, "rows are whole batches");
    return {Shape{batch}, DType::float64};
  }
  // Of a task: the rows of an example in the order of their indices, and a sum of rows.
  size_t scratch(Specs in) const {
    const Shape& values = in[1].shape;
    return static_cast<size_t>(tasks_of(batch) * (values[0] / batch + values[1])) * sizeof(double);
  }

  void forward(const Run& run, Ins in, Outs out) const {
    const int64_t rows = in[1].shape()[0] / batch, width = in[1].shape()[1];
    const auto* indices = in[0].as<int64_t>();
    visit_float(in[1].dtype(), [&](auto zero) {
      using T = decltype(zero);
      const T* values = in[1].as<T>();
      for_each_example(run.team, batch, [&](int64_t e, int64_t task) {
        auto* order = reinterpret_cast<int64_t*>(run.scratch) + task * (rows + width);
        auto* sum = reinterpret_cast<double*>(order + rows);
        double largest = 0;
        for (int64_t k = 0; k < rows; ++k) {
          order[k] = (k / inner * batch + e) * inner + k % inner;
          largest = std::max(largest, largest_double(values + order[k] * width, width));
        }
        const double factor = unit_factor(largest);
        std::sort(order, order + rows, [&](int64_t i, int64_t j) {
          return indices[i] != indices[j] ? indices[i] < indices[j] : i < j;
        });
        double squares = 0;
        for (int64_t k = 0; k < rows;) {
          std::fill_n(sum, width, 0.0);
          const int64_t index = indices[order[k]];
          for (; k < rows && indices[order[k]] == index; ++k)
            for (int64_t j = 0; j < width; ++j)
              sum[j] += factor * static_cast<double>(values[order[k] * width + j]);
          squares += dot(sum, sum, width);
        }
        out[0].as<double>()[e] = std::sqrt(squares) / factor;
      });
    });
  }
};

}  // namespace

Value example_norms(const std::vector<RowPair>& pairs, int64_t batch) {
  ExampleNorms op{.batch = batch, .inner = {}};
  std::vector<Operand> operands;
  for (const RowPair& pair : pairs) {
    operands.insert(operands.end(), {pair.a, pair.b});
    op.inner.push_back(pair.inner);
  }
  return apply_all(std::move(op), operands, Where::here())[0];
}

Value example_norms(Value values) { return apply(ExampleSizes{}, {values}, Where::here()); }

Value example_row_norms(Value indices, Value rows, int64_t inner, int64_t batch) {
  return apply(ExampleRowNorms{batch, inner}, {indices, rows}, Where::here());
}

}  // namespace rein
