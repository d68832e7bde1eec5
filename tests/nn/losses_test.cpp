#include "rein/nn/losses.h"

#include <cmath>
#include <limits>

#include "checks.h"

namespace rein::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const Reduction kAll[] = {Reduction::none, Reduction::sum, Reduction::mean,
                          Reduction::sum_over_batch_size, Reduction::sum_over_nonzero_weights};

struct ReductionRow {
  Tensor weights;  // not defined: none
  double sum, mean, over_batch, over_nonzero;
};

TEST(ComputeWeightedLoss, Reduces) {
  const Tensor losses = Tensor::of<double>({2, 3}, {1, 2, 3, 4, 5, 6});
  const ReductionRow rows[] = {
      {{}, 21, 21 / 6.0, 21 / 6.0, 21 / 6.0},
      {Tensor::scalar(2.0), 42, 42 / 12.0, 42 / 6.0, 42 / 6.0},
      {Tensor::scalar(0.0), 0, 0, 0, 0},
      {Tensor::of<double>({2, 1}, {0, 0.5}), 7.5, 7.5 / 1.5, 7.5 / 6, 7.5 / 3},
      {Tensor::of<double>({1, 3}, {2, 0, 0}), 10, 10 / 4.0, 10 / 6.0, 10 / 2.0},
      {Tensor::of<double>({2, 3}, {1, 0, 1, 0, 2, 0}), 14, 14 / 4.0, 14 / 6.0, 14 / 3.0},
      {Tensor::of<double>({2, 3}, {1, -1, 0, 0, 0, 0}), -1, 0, -1 / 6.0, -1 / 2.0},
  };
  for (const ReductionRow& row : rows) {
    GradientTape tape;
    auto loss = [&](Reduction reduction) {
      LossOptions options{.reduction = reduction};
      if (row.weights.size() > 0) options.weights = row.weights;
      return compute_weighted_loss(tape.input(losses), options).item();
    };
    EXPECT_NEAR(loss(Reduction::sum), row.sum, 1e-14);
    EXPECT_NEAR(loss(Reduction::mean), row.mean, 1e-14);
    EXPECT_NEAR(loss(Reduction::sum_over_batch_size), row.over_batch, 1e-14);
    EXPECT_NEAR(loss(Reduction::sum_over_nonzero_weights), row.over_nonzero, 1e-14);
  }
}

TEST(ComputeWeightedLoss, WithoutReductionKeepsTheShape) {
  GradientTape tape;
  const Value losses = tape.input(Tensor::of<double>({2, 2}, {1, 2, 3, 4}));
  expect_near(compute_weighted_loss(losses, {.weights = Tensor::of<double>({2, 1}, {2, 0}),
                                             .reduction = Reduction::none})
                  .tensor(),
              Tensor::of<double>({2, 2}, {2, 4, 0, 0}), 0);
}

TEST(ComputeWeightedLoss, TakesANumberAsWeight) {
  GradientTape tape;
  const Value losses = tape.input(Tensor::of<float>({2}, {1, 2}));
  EXPECT_EQ(compute_weighted_loss(losses, {.weights = 3.0, .reduction = Reduction::sum}).item(), 9);
}

TEST(ComputeWeightedLoss, OnlyPlainBroadcastsAreTaken) {
  GradientTape tape;
  const Value losses = tape.input(Tensor({3, 5}));
  for (const Shape& shape : {Shape{5}, Shape{3}, Shape{5, 3}, Shape{3, 5, 1}})
    expect_error([&] { compute_weighted_loss(losses, {.weights = Tensor(shape)}); },
                 {"compute_weighted_loss", to_string(shape), "[3, 5]", "losses_test.cpp"});
}

using Elementwise = std::function<Value(Value labels, Value predictions, Reduction reduction)>;

// f of the difference predictions - labels, with and without a reduction, and its gradients.
void expect_loss_of_difference(const Elementwise& loss, double (*f)(double)) {
  const Tensor y = Tensor::of<double>({2, 3}, {0, 1, -2, 0.5, 3, 10});
  const Tensor p = Tensor::of<double>({2, 3}, {0.3, 0.2, 1.4, 0.5, -4, 12.5});
  GradientTape tape;
  const Tensor each = loss(tape.input(y), tape.input(p), Reduction::none).tensor();
  double sum = 0;
  for (size_t i = 0; i < 6; ++i) {
    const double want = f(p.flat<double>()[i] - y.flat<double>()[i]);
    EXPECT_NEAR(each.flat<double>()[i], want, 1e-14) << i;
    sum += want;
  }
  const auto reduced =
      loss(tape.input(y), tape.input(p), Reduction::sum_over_nonzero_weights).item();
  EXPECT_NEAR(reduced, sum / 6, 1e-14);
}

TEST(Losses, OfDifferences) {
  expect_loss_of_difference(
      [](Value y, Value p, Reduction r) { return mean_squared_error(y, p, {.reduction = r}); },
      [](double e) { return e * e; });
  expect_loss_of_difference(
      [](Value y, Value p, Reduction r) { return absolute_difference(y, p, {.reduction = r}); },
      [](double e) { return std::abs(e); });
  expect_loss_of_difference(
      [](Value y, Value p, Reduction r) { return log_cosh(y, p, {.reduction = r}); },
      [](double e) { return std::log(std::cosh(e)); });
  expect_loss_of_difference(
      [](Value y, Value p, Reduction r) {
        return huber_loss(y, p, {.delta = 0.7, .reduction = r});
      },
      [](double e) { return std::abs(e) <= 0.7 ? e * e / 2 : 0.7 * (std::abs(e) - 0.35); });
  expect_loss_of_difference(
      [](Value y, Value p, Reduction r) { return smooth_l1(y, p, {.beta = 0.7, .reduction = r}); },
      [](double e) { return std::abs(e) <= 0.7 ? e * e / 1.4 : std::abs(e) - 0.35; });
}

TEST(Losses, GradientsAreDerivatives) {
  const Tensor y = normal({3, 4}, 1), p = normal({3, 4}, 2);
  const Tensor w = Tensor::of<double>({3, 1}, {0.5, 0, 2});
  for (Reduction r : kAll) {
    auto check = [&](const std::function<Value(Value, Value)>& loss) {
      expect_gradients([&](auto in) { return reduce_sum(loss(in[0], in[1])); }, {y, p});
    };
    check(
        [&](Value a, Value b) { return mean_squared_error(a, b, {.weights = w, .reduction = r}); });
    check([&](Value a, Value b) {
      return absolute_difference(a, b, {.weights = w, .reduction = r});
    });
    check([&](Value a, Value b) { return log_cosh(a, b, {.weights = w, .reduction = r}); });
    check([&](Value a, Value b) {
      return huber_loss(a, b, {.delta = 0.6, .weights = w, .reduction = r});
    });
    check([&](Value a, Value b) {
      return smooth_l1(a, b, {.beta = 0.6, .weights = w, .reduction = r});
    });
  }
  // Weights have a gradient as well, unless the number of them that are not 0 is what counts.
  expect_gradients(
      [&](auto in) {
        return mean_squared_error(in[0], in[1], {.weights = in[2], .reduction = Reduction::mean});
      },
      {y, p, Tensor::of<double>({3, 1}, {0.5, 1, 2})});
  expect_gradients(
      [&](auto in) {
        return reduce_sum(weighted_cross_entropy_with_logits(sigmoid(in[0]), in[1], 1.7));
      },
      {y, p});
  expect_gradients([&](auto in) { return l2_loss(in[0]); }, {y});
}

// -log(softmax(x)[k]) of one row.
double surprise(const std::vector<double>& x, size_t k) {
  double sum = 0;
  for (double v : x) sum += std::exp(v);
  return std::log(sum) - x[k];
}

const std::vector<double> kFirst{0.5, -1, 2}, kSecond{1, 0, -0.5}, kThird{-2, 0.25, 0};
const Tensor kLogits = Tensor::of<double>({3, 3}, {0.5, -1, 2, 1, 0, -0.5, -2, 0.25, 0});

TEST(SoftmaxCrossEntropy, SmoothsLabels) {
  GradientTape tape;
  const Value logits = tape.input(kLogits.piece(0, {1, 3}));
  const Tensor label = Tensor::of<double>({1, 3}, {0, 0, 1});
  const double plain = softmax_cross_entropy(label, logits).item();
  EXPECT_NEAR(plain, surprise(kFirst, 2), 1e-14);
  const double smoothed = softmax_cross_entropy(label, logits, {.label_smoothing = 0.3}).item();
  EXPECT_NEAR(smoothed,
              0.7 * plain + 0.1 * (surprise(kFirst, 0) + surprise(kFirst, 1) + surprise(kFirst, 2)),
              1e-14);
}

TEST(SoftmaxCrossEntropy, HasTheDerivativeOfLabelsOfAnySumOnRequest) {
  const Tensor labels = Tensor::of<double>({2, 3}, {0.5, 2, 0, 0.1, 0, 0.3});
  auto loss = [&](Value logits, bool true_gradient) {
    return softmax_cross_entropy(labels, logits, {.true_gradient = true_gradient});
  };
  const Tensor at = normal({2, 3}, 1);
  expect_gradients([&](auto in) { return loss(in[0], true); }, {at});
  GradientTape tape;
  const Value logits = tape.input(at);
  EXPECT_NEAR(loss(logits, true).item(), loss(logits, false).item(), 1e-14);
  const Tensor d = gradients(loss(logits, false), Values{logits})[0].tensor();
  const Tensor p = softmax(logits).tensor();
  for (size_t i = 0; i < 6; ++i)
    EXPECT_NEAR(d.flat<double>()[i], (p.flat<double>()[i] - labels.flat<double>()[i]) / 2, 1e-15);
}

TEST(SparseSoftmaxCrossEntropy, WeightsClassesAsPyTorchDoes) {
  GradientTape tape;
  const Value logits = tape.input(kLogits);
  const Value labels = tape.input(Tensor::of<int64_t>({3}, {2, 0, 2}));
  const Tensor of_class = Tensor::of<double>({3}, {0.5, 4, 2});
  const double a = surprise(kFirst, 2), b = surprise(kSecond, 0), c = surprise(kThird, 2);
  auto loss = [&](SparseSoftmaxCrossEntropyOptions options) {
    return sparse_softmax_cross_entropy(labels, logits, std::move(options));
  };
  EXPECT_NEAR(loss({}).item(), (a + b + c) / 3, 1e-14);
  EXPECT_NEAR(loss({.class_weights = of_class, .reduction = Reduction::mean}).item(),
              (2 * a + 0.5 * b + 2 * c) / 4.5, 1e-14);
  EXPECT_NEAR(loss({.class_weights = of_class}).item(), (2 * a + 0.5 * b + 2 * c) / 3, 1e-14);
  expect_near(loss({.class_weights = of_class,
                    .weights = Tensor::of<double>({3}, {1, 0, 3}),
                    .reduction = Reduction::none})
                  .tensor(),
              Tensor::of<double>({3}, {2 * a, 0, 6 * c}), 1e-14);

  // Smoothed: every class with its own weight, divided by the weights of the labels.
  auto all = [&](const std::vector<double>& row) {
    return 0.5 * surprise(row, 0) + 4 * surprise(row, 1) + 2 * surprise(row, 2);
  };
  EXPECT_NEAR(
      loss({.class_weights = of_class, .label_smoothing = 0.3, .reduction = Reduction::mean})
          .item(),
      (0.7 * (2 * a + 0.5 * b + 2 * c) + 0.1 * (all(kFirst) + all(kSecond) + all(kThird))) / 4.5,
      1e-14);
  EXPECT_NEAR(
      loss({.class_weights = ones(Spec{{3}, DType::float64}, tape.graph()), .label_smoothing = 0.3})
          .item(),
      loss({.label_smoothing = 0.3}).item(), 1e-14);
}

TEST(SparseSoftmaxCrossEntropy, IgnoresALabel) {
  const double a = surprise(kFirst, 2), c = surprise(kThird, 1);
  for (int64_t ignored : {int64_t{-100}, int64_t{0}, int64_t{1} << 40}) {
    GradientTape tape;
    const Value logits = tape.input(kLogits);
    const Value labels = tape.input(Tensor::of<int64_t>({3}, {2, ignored, 1}));
    for (double smoothing : {0.0, 0.2}) {
      auto loss = [&](Reduction reduction) {
        return sparse_softmax_cross_entropy(
            labels, logits,
            {.ignore_index = ignored, .label_smoothing = smoothing, .reduction = reduction});
      };
      if (smoothing == 0) {
        EXPECT_NEAR(loss(Reduction::mean).item(), (a + c) / 2, 1e-14);
        EXPECT_NEAR(loss(Reduction::sum_over_nonzero_weights).item(), (a + c) / 2, 1e-14);
        EXPECT_NEAR(loss(Reduction::sum_over_batch_size).item(), (a + c) / 3, 1e-14);
      }
      const Tensor d = gradients(loss(Reduction::mean), Values{logits})[0].tensor();
      for (size_t k = 0; k < 3; ++k) {
        EXPECT_EQ(d.flat<double>()[3 + k], 0);
        EXPECT_NE(d.flat<double>()[k], 0);
      }
    }
  }
}

TEST(SparseSoftmaxCrossEntropy, AnIgnoredRowMayHoldAnything) {
  GradientTape tape;
  const Value logits = tape.input(Tensor::of<float>({2, 2}, {-HUGE_VALF, 1, 0.5, 0.25}));
  const Value labels = tape.input(Tensor::of<int32_t>({2}, {-1, 0}));
  const Value loss = sparse_softmax_cross_entropy(labels, logits, {.ignore_index = -1});
  EXPECT_NEAR(loss.item(), surprise({0.5, 0.25}, 0), 1e-6);  // some roundings of float
  const Tensor d = gradients(loss, Values{logits})[0].tensor();
  EXPECT_EQ(d.flat<float>()[0], 0);
  EXPECT_EQ(d.flat<float>()[1], 0);
}

TEST(SparseSoftmaxCrossEntropy, AllIgnoredIsZero) {
  GradientTape tape;
  const Value logits = tape.input(kLogits);
  const Value labels = tape.input(Tensor::of<int32_t>({3}, {1, 1, 1}));
  const Value loss = sparse_softmax_cross_entropy(
      labels, logits, {.ignore_index = 1, .reduction = Reduction::mean});
  EXPECT_EQ(loss.item(), 0);
  for (double d : gradients(loss, Values{logits})[0].tensor().flat<double>()) EXPECT_EQ(d, 0);
}

TEST(SparseSoftmaxCrossEntropy, GradientsAreDerivatives) {
  const Tensor labels = Tensor::of<int64_t>({3}, {2, 0, 1});
  const Tensor of_class = Tensor::of<double>({3}, {0.5, 4, 2});
  for (double smoothing : {0.0, 0.2})
    for (Reduction r : kAll)
      expect_gradients(
          [&](auto in) {
            return reduce_sum(sparse_softmax_cross_entropy(labels, in[0],
                                                           {.class_weights = of_class,
                                                            .ignore_index = 0,
                                                            .label_smoothing = smoothing,
                                                            .reduction = r}));
          },
          {kLogits});
}

TEST(CategoricalCrossEntropy, DividesAndClipsProbabilities) {
  GradientTape tape;
  const Tensor z = Tensor::of<double>({2, 3}, {0, 1, 0, 0.25, 0, 0.75});
  const Tensor p = Tensor::of<double>({2, 3}, {1, 2, 1, 3, 0, 0});
  const Tensor loss =
      categorical_cross_entropy(z, tape.input(p), {.reduction = Reduction::none}).tensor();
  expect_near(
      loss,
      Tensor::of<double>({2}, {std::log(2.0), -0.25 * std::log(1 - 1e-7) - 0.75 * std::log(1e-7)}),
      1e-14);
  expect_gradients([&](auto in) { return categorical_cross_entropy(z, softmax(in[0])); },
                   {normal({2, 3}, 1)});
}

TEST(WeightedCrossEntropy, WeighsThePositiveTerm) {
  GradientTape tape;
  const std::vector<double> x{0.5, -3, 40}, z{1, 0.25, 0};
  const Tensor loss = weighted_cross_entropy_with_logits(
                          Tensor::copy_of<double>({3}, z),
                          tape.input(Tensor::copy_of<double>({3}, std::span<const double>(x))), 2.5)
                          .tensor();
  for (size_t i = 0; i < 3; ++i) {
    const double p = 1 / (1 + std::exp(-x[i]));
    const double log_not_p = -x[i] - std::log1p(std::exp(-x[i]));
    EXPECT_NEAR(loss.flat<double>()[i], -2.5 * z[i] * std::log(p) - (1 - z[i]) * log_not_p, 1e-13);
  }
}

TEST(L2Loss, IsHalfTheSumOfSquares) {
  GradientTape tape;
  EXPECT_EQ(l2_loss(tape.input(Tensor::of<double>({3}, {1, 2, -3}))).item(), 7);
}

TEST(Losses, SettingsThatMakeNoSenseThrow) {
  GradientTape tape;
  const Value x = tape.input(Tensor({2, 3}));
  const Tensor y({2, 3}), other({3, 2}), labels({2}, DType::int32);
  for (double bad : {0.0, -1.0, std::nan("")}) {
    expect_error([&] { huber_loss(y, x, {.delta = bad}); }, {"huber_loss", "delta"});
    expect_error([&] { smooth_l1(y, x, {.beta = bad}); }, {"smooth_l1", "beta"});
  }
  for (double bad : {-0.1, 1.1, kInf, std::nan("")}) {
    expect_error([&] { softmax_cross_entropy(y, x, {.label_smoothing = bad}); },
                 {"softmax_cross_entropy", "label_smoothing"});
    expect_error([&] { sparse_softmax_cross_entropy(labels, x, {.label_smoothing = bad}); },
                 {"sparse_softmax_cross_entropy", "label_smoothing"});
  }
  expect_error([&] { mean_squared_error(other, x); }, {"same shape", "[3, 2]", "[2, 3]"});
  expect_error([&] { absolute_difference(other, x); }, {"same shape", "[3, 2]", "[2, 3]"});
  expect_error([&] { log_cosh(other, x); }, {"same shape", "[3, 2]", "[2, 3]"});
  expect_error([&] { log_cosh(Tensor({3}), x); }, {"same shape", "[3]", "[2, 3]"});
  expect_error([&] { categorical_cross_entropy(other, x); }, {"same shape", "[3, 2]", "[2, 3]"});
  expect_error([&] { softmax_cross_entropy(other, x); }, {"same shape", "[3, 2]", "[2, 3]"});
  expect_error([&] { weighted_cross_entropy_with_logits(other, x, 2.0); },
               {"same shape", "[3, 2]", "[2, 3]"});
  expect_error([&] { sparse_softmax_cross_entropy(labels, x, {.class_weights = Tensor({4})}); },
               {"class_weights", "[4]", "[2, 3]"});
  expect_error([&] { sparse_softmax_cross_entropy(y, x); }, {"labels are int32 or int64"});
}

}  // namespace
}  // namespace rein::test
