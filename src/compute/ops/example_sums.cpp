#include "compute/ops/example_sums.h"

#include <algorithm>
#include <cstring>

#include "compute/ops/rules.h"
#include "rein/kernels/gemm.h"
#include "rein/kernels/update.h"

namespace rein {
namespace {

using kernels::Trans;

constexpr std::string_view kFactorsAreNumbers = "factors of examples are numbers, not functions";

struct ScaleExamples {
  static constexpr std::string_view name = "scale_examples";
  static constexpr std::string_view no_gradient = kFactorsAreNumbers;
  int64_t stride = 1;
  bool operator==(const ScaleExamples&) const = default;

  Spec infer(Specs in) const {
    require_floating(in[0]);
    require(in[1].shape.rank() == 1 && in[1].dtype == DType::float64,
            "factors are float64 [batch]");
    require(stride > 0 && in[0].size() % (stride * in[1].size()) == 0, "x is not whole batches");
    return in[0];
  }
  bool may_overwrite(size_t argument) const { return argument == 0; }

  void forward(const Run& run, Ins in, Outs out) const {
    constexpr int64_t kTask = 16384;  // elements
    const auto* factors = in[1].as<double>();
    const int64_t batch = in[1].size(), n = in[0].size() / stride;
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      run.team.run_ranges(n, std::max<int64_t>(1, kTask / stride), [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) {
          const double factor = factors[i % batch];
          T* y = out[0].as<T>() + i * stride;
          if (factor == 0)
            std::fill_n(y, stride, T{0});
          else
            kernels::scale_into(in[0].as<T>() + i * stride, factor, y, static_cast<size_t>(stride));
        }
      });
    });
  }
};

struct ExampleProduct {  // a, b, factors
  static constexpr std::string_view name = "example_product";
  static constexpr std::string_view no_gradient = kFactorsAreNumbers;
  int64_t inner = 1;
  bool operator==(const ExampleProduct&) const = default;

  Spec infer(Specs in) const {
    const Shape &a = in[0].shape, &b = in[1].shape;
    require_floating(in[0]);
    require_same_dtype(in[0], in[1]);
    require(a.rank() == 2 && b.rank() == 2 && a[0] == b[0], "needs matrices of equally many rows");
    require(in[2].shape.rank() == 1 && in[2].dtype == DType::float64 && inner > 0 &&
                a[0] % (inner * in[2].size()) == 0,
            "factors are float64 [batch], and rows whole batches");
    return {Shape{a[1], b[1]}, in[0].dtype};
  }
  size_t scratch(Specs in) const { return in[0].bytes(); }

  void forward(const Run& run, Ins in, Outs out) const {
    const auto* factors = in[2].as<double>();
    const int64_t batch = in[2].size(), rows = in[0].shape()[0], width = in[0].shape()[1];
    visit_float(in[0].dtype(), [&](auto zero) {
      using T = decltype(zero);
      const T* a = in[0].as<T>();
      if (std::find(factors, factors + batch, 0.0) != factors + batch) {
        T* left = reinterpret_cast<T*>(run.scratch);
        std::copy_n(a, rows * width, left);
        for (int64_t r = 0; r < rows; ++r)
          if (factors[r / inner % batch] == 0) std::fill_n(left + r * width, width, T{0});
        a = left;
      }
      kernels::gemm<T>(run.team, Trans::yes, Trans::no, width, out[0].shape()[1], rows, a, width,
                       in[1].as<T>(), in[1].shape()[1], T{0}, out[0].as<T>(), out[0].shape()[1],
                       nullptr);
    });
  }
};

}  // namespace

Value scale_examples(Value x, Value factors, int64_t stride) {
  return apply(ScaleExamples{stride}, {x, factors}, Where::here());
}

Value example_product(const RowPair& pair, Value factors) {
  return apply(ExampleProduct{pair.inner}, {pair.a, pair.b, factors}, Where::here());
}

}  // namespace rein
