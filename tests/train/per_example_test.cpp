// Steps that clip the gradient of each example, against the examples one by one on a tape.
#include "rein/process/per_example.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "process/numbers.h"
#include "rein/rein.h"
#include "support/error_text.h"

namespace rein {
namespace {

constexpr int64_t kBatch = 6, kSteps = 5, kWords = 7, kWidth = 3, kUnits = 4, kClasses = 3;
constexpr double kInf = std::numeric_limits<double>::infinity();

using Numbers = std::vector<std::vector<double>>;  // of each variable

/// Words, some twice in an example -> embedding -> two LSTM -> logits; between them a matrix and a
/// bias that are used twice. `unused` is in no formula.
struct Words {
  explicit Words(DType dtype = DType::float64)
      : vars(Seed{3}, dtype),
        x({kBatch, kSteps}, DType::int64),
        y({kBatch}, DType::int64),
        embedding(vars.add("embedding", {kWords, kWidth}, random_normal())),
        twice(vars.add("twice", {kUnits, kUnits}, random_normal())),
        bias(vars.add("bias", {kUnits}, random_normal())),
        unused(vars.add("unused", {2}, random_normal())),
        out(vars.add("out", {kUnits, kClasses}, random_normal())),
        lower(vars, "lower", kWidth, kUnits),
        upper(vars, "upper", kUnits, kUnits) {
    for (int64_t i = 0; i < x.size(); ++i)
      x.flat<int64_t>()[static_cast<size_t>(i)] = i * i % 5 % kWords;
    for (int64_t i = 0; i < kBatch; ++i) y.flat<int64_t>()[static_cast<size_t>(i)] = i % kClasses;
  }

  Values losses(Value words, Value labels) const {
    const Value rows = gather(embedding, transpose(words, {1, 0}));  // [steps, batch, width]
    const Values below = static_rnn(lower, unstack(rows)).outputs;
    const Value last = static_rnn(upper, below).outputs.back();
    const Value mixed = tanh(matmul(tanh(matmul(last, twice) + bias), twice) + bias);
    const Value logits = matmul(mixed, out);
    return {sparse_softmax_cross_entropy_with_logits(logits, labels), logits};
  }
  auto cost() const {
    return [this](Value words, Value labels) { return losses(words, labels); };
  }
  Step step(PerExample settings, int threads = 1) {
    return record(cost(), vars, chain(), GradientDescent{.learning_rate = 1.0},
                  {.threads = threads, .per_example = settings});
  }

  Numbers weights() {
    Numbers all;
    for (size_t i = 0; i < vars.size(); ++i) all.push_back(numbers(vars[i].read()));
    return all;
  }

  Variables vars;
  Tensor x, y;
  Variable embedding, twice, bias, unused, out;
  BasicLSTMCell lower, upper;
};

/// What a step should do, from a tape for each example.
struct Expected {
  Numbers sums;  // of clipped gradients
  std::vector<double> norms, losses;
  int64_t clipped = 0;
  explicit Expected(Words& model, double clip_norm,
                    ExampleLimits limits = ExampleLimits::together) {
    for (size_t v = 0; v < model.vars.size(); ++v)
      sums.emplace_back(static_cast<size_t>(model.vars[v].size()));
    for (int64_t i = 0; i < kBatch; ++i) {
      GradientTape tape;
      const Value loss = model.losses(tape.input(model.x.piece(i * kSteps, {1, kSteps})),
                                      tape.input(model.y.piece(i, {1})))[0];
      losses.push_back(loss.item());
      Numbers gradient;
      double squares = 0;
      for (const Gradient& g : tape.gradient(loss, model.vars)) {
        gradient.push_back(!g ? std::vector<double>{}
                              : numbers(g.is_sparse() ? Gradient(to_dense(g.sparse())) : g));
        for (double x : gradient.back()) squares += x * x;
      }
      norms.push_back(std::sqrt(squares));
      double there = 0, numbers_there = 0;
      for (const auto& g : gradient) {
        there += !g.empty();
        numbers_there += static_cast<double>(g.size());
      }
      bool any = false;
      for (size_t v = 0; v < gradient.size(); ++v) {
        const auto& g = gradient[v];
        const double n = static_cast<double>(g.size());
        double factor = std::min(1.0, clip_norm / norms.back());
        if (limits == ExampleLimits::equal)
          factor = std::min(1.0, clip_norm / std::sqrt(there) / norm_of(g));
        else if (limits == ExampleLimits::by_size)
          factor = std::min(1.0, clip_norm * std::sqrt(n / numbers_there) / norm_of(g));
        for (size_t k = 0; k < g.size(); ++k) sums[v][k] += factor * g[k];
        any |= !g.empty() && factor < 1;
      }
      clipped += any;
    }
  }
};

// Between the least and the largest norm, so that some are clipped.
double middle(const std::vector<double>& norms) {
  const auto [least, most] = std::ranges::minmax(norms);
  return (least + most) / 2;
}

class PerExampleEachWay : public testing::TestWithParam<bool> {};  // one by one, or together
INSTANTIATE_TEST_SUITE_P(Ways, PerExampleEachWay, testing::Bool());

TEST_P(PerExampleEachWay, ClippedSumIsThatOfTheExamplesOneByOne) {
  for (const auto limits :
       {ExampleLimits::together, ExampleLimits::equal, ExampleLimits::by_size}) {
    SCOPED_TRACE(to_string(limits));
    Words model;
    const double clip_norm = middle(Expected(model, kInf).norms);
    const Expected expected(model, clip_norm, limits);
    const Numbers before = model.weights();
    Step train = model.step({.clip_norm = clip_norm, .limits = limits, .one_by_one = GetParam()});
    const StepInfo info = train(model.x, model.y);
    EXPECT_EQ(train.one_by_one_because(), GetParam() ? "per_example.one_by_one is set" : "");
    const Numbers after = model.weights();

    double loss = 0;
    for (size_t i = 0; i < kBatch; ++i) {
      EXPECT_NEAR(train.example_norms()[i], expected.norms[i], 1e-12 * expected.norms[i]);
      loss += expected.losses[i] / kBatch;
    }
    EXPECT_NEAR(info.loss, loss, 1e-12);
    EXPECT_EQ(info.clipped_examples, expected.clipped);
    EXPECT_GT(expected.clipped, 0);
    if (limits == ExampleLimits::together) {
      EXPECT_LT(expected.clipped, kBatch);
    }
    for (size_t v = 0; v < before.size(); ++v)
      for (size_t k = 0; k < before[v].size(); ++k)
        EXPECT_NEAR(before[v][k] - after[v][k], expected.sums[v][k] / kBatch, 1e-12)
            << model.vars[v].name();
    EXPECT_EQ(after[model.unused.index], before[model.unused.index]);
  }
}

// Each variable has factors of its own, though one error signal flows into both.
TEST(PerExample, VariablesWithOneErrorSignalAreClippedApart) {
  Variables vars({}, DType::float64);
  const Variable a = add_variable(vars, "a", {1, 1}, {0}),
                 b = add_variable(vars, "b", {2, 1}, {0, 0});
  const auto cost = [&](Value x, Value y) {
    const Value sum = matmul(x, a) + matmul(y, b);
    return Values{reshape(sum, {-1})};
  };
  const Tensor x = tensor({2, 1}, {3, 0.5}, DType::float64);
  const Tensor y = tensor({2, 2}, {0.3, 0.4, 6, 8}, DType::float64);
  Step train = record(
      cost, vars, chain(), GradientDescent{.learning_rate = 1.0},
      {.per_example = PerExample{.clip_norm = std::sqrt(2.0), .limits = ExampleLimits::equal}});
  EXPECT_EQ(train(x, y).clipped_examples, 2);
  EXPECT_EQ(train.one_by_one_because(), "");
  EXPECT_NEAR(numbers(a.read())[0], -(1 + 0.5) / 2, 1e-15);
  EXPECT_NEAR(numbers(b.read())[0], -(0.3 + 0.6) / 2, 1e-15);
  EXPECT_NEAR(numbers(b.read())[1], -(0.4 + 0.8) / 2, 1e-15);
}

TEST(PerExample, MetricsAreJoined) {
  Words model;
  GradientTape tape;
  const Tensor logits = model.losses(tape.input(model.x), tape.input(model.y))[1].tensor();
  Step train = model.step({.clip_norm = 1});
  train(model.x, model.y);
  ASSERT_EQ(train.metric(0).spec(), logits.spec());
  for (size_t i = 0; i < numbers(logits).size(); ++i)
    EXPECT_NEAR(numbers(train.metric(0))[i], numbers(logits)[i], 1e-12);
}

TEST(PerExample, WithoutAClipItIsTheMeanGradient) {
  Words one, other;
  Step examples = one.step({});
  Step batch = record([&](Value x, Value y) { return reduce_mean(other.losses(x, y)[0]); },
                      other.vars, chain(), GradientDescent{.learning_rate = 1.0});
  EXPECT_NEAR(examples(one.x, one.y).loss, batch(other.x, other.y).loss, 1e-12);
  const Numbers a = one.weights(), b = other.weights();
  for (size_t v = 0; v < a.size(); ++v)
    for (size_t k = 0; k < a[v].size(); ++k) EXPECT_NEAR(a[v][k], b[v][k], 1e-12);
}

// The promise on which privacy rests.
TEST(PerExample, OneExampleMovesTheSumByNoMoreThanTwiceTheClip) {
  constexpr double kClip = 0.3;
  const auto moved_by = [](int64_t word, int64_t label) {
    Words model;
    model.x.flat<int64_t>()[7] = word;
    model.y.flat<int64_t>()[1] = label;
    const Numbers before = model.weights();
    model.step({.clip_norm = kClip, .batch_size = 1})(model.x, model.y);
    Numbers sums = model.weights();
    for (size_t v = 0; v < sums.size(); ++v)
      for (size_t k = 0; k < sums[v].size(); ++k) sums[v][k] -= before[v][k];
    return sums;
  };
  const Numbers plain = moved_by(0, 0);
  double most = 0;
  for (int64_t word = 0; word < kWords; ++word)
    for (int64_t label = 0; label < kClasses; ++label) {
      const Numbers other = moved_by(word, label);
      double squares = 0;
      for (size_t v = 0; v < other.size(); ++v)
        for (size_t k = 0; k < other[v].size(); ++k)
          squares += std::pow(other[v][k] - plain[v][k], 2);
      most = std::max(most, std::sqrt(squares));
    }
  EXPECT_LE(most, 2 * kClip * (1 + 1e-12));
  EXPECT_GT(most, kClip / 2);  // and the clip was felt
}

TEST(PerExample, WeightsLeaveOutExamplesAndBatchSizeIsWhatIsExpected) {
  Words model, other;
  const auto weighted = [&](Words& m) {
    return [&m](Value x, Value y, Value w) { return m.losses(x, y)[0] * w; };
  };
  const Tensor weights = tensor({kBatch}, {1, 0, 1, 1, 0, 1}, DType::float64);
  const Numbers before = model.weights();
  const StepOptions options{.per_example = PerExample{.clip_norm = 0.2, .batch_size = 4}};
  Step train =
      record(weighted(model), model.vars, chain(), GradientDescent{.learning_rate = 1.0}, options);
  train(model.x, model.y, weights);
  EXPECT_EQ(train.example_norms()[1], 0);

  // The same without those two, which have 4 of 4.
  Tensor x({4, kSteps}, DType::int64), y({4}, DType::int64);
  for (int64_t k = 0; const int64_t i : {0, 2, 3, 5}) {
    for (int64_t t = 0; t < kSteps; ++t)
      x.flat<int64_t>()[static_cast<size_t>(k * kSteps + t)] =
          model.x.flat<int64_t>()[static_cast<size_t>(i * kSteps + t)];
    y.flat<int64_t>()[static_cast<size_t>(k++)] = model.y.flat<int64_t>()[static_cast<size_t>(i)];
  }
  other.step({.clip_norm = 0.2})(x, y);
  const Numbers a = model.weights(), b = other.weights();
  EXPECT_NE(a, before);
  for (size_t v = 0; v < a.size(); ++v)
    for (size_t k = 0; k < a[v].size(); ++k) EXPECT_NEAR(a[v][k], b[v][k], 1e-12);
}

TEST(PerExample, NoiseHasItsDeviationAndReachesEveryNumber) {
  Variables vars{Seed{1}};
  const Variable w = vars.add("w", {50, 400}, zeros());
  const Variable rows = vars.add("rows", {100, 100}, zeros());
  const Variable unused = vars.add("unused", {3}, ones());
  const auto cost = [&](Value x, Value ids) {
    return reduce_sum(matmul(x, w), {.axes = {1}}) + reduce_sum(gather(rows, ids), {.axes = {1}});
  };
  Step train =
      record(cost, vars, chain(), GradientDescent{.learning_rate = 1.0},
             {.per_example = PerExample{.clip_norm = 0.5, .noise_multiplier = 3, .seed = 2}});
  train(Tensor({8, 50}), Tensor({8}, DType::int64));
  double sum = 0, squares = 0;
  for (const Variable& v : {w, rows}) {
    const Tensor moved = v.read();
    for (float x : moved.flat<float>().subspan(v == rows ? 100 : 0)) {  // row 0 is read
      sum += double{x};
      squares += double{x} * double{x};
      EXPECT_NE(x, 0);
    }
  }
  // 29,900 numbers of deviation 3 * 0.5 / 8: their mean is known to 1 / sqrt(n) of that, their
  // variance to sqrt(2 / n) of itself; four times as much happens once in 16,000.
  const double n = 29900, deviation = 3 * 0.5 / 8;
  EXPECT_NEAR(sum / n, 0, 4 * deviation / std::sqrt(n));
  EXPECT_NEAR(squares / n / (deviation * deviation), 1, 4 * std::sqrt(2 / n));
  EXPECT_EQ(numbers(unused.read()), (std::vector<double>{1, 1, 1}));
}

TEST(PerExample, NoiseComesOnceAStepWhateverTheMicroBatches) {
  const auto weights_after = [](double noise) {
    Words model;
    Step train = model.step({.clip_norm = 0.5, .noise_multiplier = noise, .seed = 4});
    train.accumulate(model.x, model.y);
    const StepInfo info = train(model.x, model.y);
    const int64_t clipped =
        std::ranges::count_if(train.example_norms(), [](double norm) { return norm > 0.5; });
    EXPECT_GT(clipped, 0);
    EXPECT_EQ(info.micro_batches, 2);
    EXPECT_EQ(info.clipped_examples, 2 * clipped);
    EXPECT_NE(to_string(settings_of(info)).find("clipped_examples"), std::string::npos);
    Numbers weights = model.weights();
    EXPECT_LE(train(model.x, model.y).clipped_examples, kBatch);  // counted from 0
    return weights;
  };
  const Numbers with = weights_after(2), without = weights_after(0);
  double squares = 0, n = 0;
  for (size_t v = 0; v < with.size(); ++v)
    for (size_t k = 0; k < with[v].size(); ++k) {
      squares += std::pow(with[v][k] - without[v][k], 2);
      ++n;
    }
  n -= 2;  // `unused`
  // As above: of the mean of two micro-batches of 6.
  EXPECT_NEAR(squares / n / std::pow(2 * 0.5 / 12, 2), 1, 4 * std::sqrt(2 / n));
}

TEST(PerExample, SameBitsForAnyNumberOfThreadsAndAfterLoading) {
  const PerExample settings{.clip_norm = 0.4, .noise_multiplier = 0.7, .seed = 9};
  Numbers results[3];
  for (int threads : {1, 3}) {
    Words model(DType::float32);
    Step train = model.step(settings, threads);
    for (int i = 0; i < 3; ++i) train(model.x, model.y);
    results[threads / 2] = model.weights();
  }
  EXPECT_EQ(results[0], results[1]);
  Words stopped(DType::float32), resumed(DType::float32);
  Step first = stopped.step(settings), second = resumed.step(settings);
  first(stopped.x, stopped.y);
  second.load_state(first.state());
  for (int i = 0; i < 2; ++i) second(resumed.x, resumed.y);
  EXPECT_EQ(resumed.weights(), results[0]);
  Step other = resumed.step({.clip_norm = 0.4, .noise_multiplier = 0.6, .seed = 9});
  EXPECT_THROW(other.load_state(first.state()), InvalidArgument);
}

// Whoever reads a saved state cannot take the noise away.
TEST(PerExample, TheSeedIsInNoSavedStateAndMayBeAnotherAfterwards) {
  const auto settings = [](uint64_t seed) {
    return PerExample{.clip_norm = 0.4, .noise_multiplier = 0.7, .seed = seed};
  };
  Words one, other;
  Step first = one.step(settings(9)), second = other.step(settings(uint64_t{1} << 63));
  const StateDict saved = first.state();
  EXPECT_TRUE(saved.contains("settings/per_example/noise_multiplier"));
  for (const auto& [name, value] : second.state())
    EXPECT_EQ(to_string(value), to_string(saved.at(name))) << name;
  second.load_state(saved);
  first(one.x, one.y);
  second(other.x, other.y);
  EXPECT_NE(one.weights(), other.weights());  // the whole seed counts
}

TEST(PerExample, DropoutDrawsAnewForEachExample) {
  Variables vars{Seed{1}};
  const Variable w = vars.add("w", {64}, ones());
  Step train = record([&](Value x) { return reduce_sum(dropout(x * w, 0.5), {.axes = {1}}); }, vars,
                      chain(), GradientDescent{.learning_rate = 0}, {.per_example = PerExample{}});
  Tensor x({3, 64});
  for (float& v : x.flat<float>()) v = 1;
  train(x);
  std::vector<double> first = train.example_norms();
  EXPECT_FALSE(first[0] == first[1] && first[1] == first[2]);
  train.accumulate(x);
  EXPECT_NE(train.example_norms(), first);  // the next step
  first = train.example_norms();
  train.accumulate(x);
  EXPECT_NE(train.example_norms(), first);  // the next micro-batch of it
}

TEST_P(PerExampleEachWay, AnExampleWithoutAFiniteGradientIsLeftOut) {
  Variables vars{Seed{1}, DType::float64};
  const Variable w = vars.add("w", {2}, ones());
  Step train = record([&](Value x) { return reduce_sum(x * w, {.axes = {1}}); }, vars,
                      CheckFinite{}, GradientDescent{.learning_rate = 1.0},
                      {.per_example = PerExample{.one_by_one = GetParam()}});
  const Tensor x = tensor({3, 2}, {kInf, 1, 3, 6, 3, 0}, DType::float64);
  const StepInfo info = train(x);
  EXPECT_EQ(info.clipped_examples, 1);
  EXPECT_TRUE(info.finite && !info.skip);
  EXPECT_EQ(info.loss, 6);  // the mean of 9 and 3
  EXPECT_EQ(numbers(w.read()), (std::vector<double>{1 - 2, 1 - 2}));
  EXPECT_EQ(train.find_non_finite(std::span(&x, 1))->place.example, 0);
  EXPECT_TRUE(train(tensor({3, 2}, std::vector<double>(6, kInf), DType::float64)).skip);
}

TEST(PerExample, RefusesWhatMakesNoSense) {
  Words model;
  using test::error_of;
  EXPECT_EQ(error_of([&] { model.step({.clip_norm = 0}); }),
            "record: per_example.clip_norm is 0; it must be more than 0");
  EXPECT_EQ(
      error_of([&] { model.step({.noise_multiplier = 1}); }),
      "record: per_example has a noise_multiplier, of a clip_norm that is infinite; set both");
  EXPECT_EQ(error_of([&] { model.step({.clip_norm = 1, .noise_multiplier = 1}); }),
            "record: per_example has a noise_multiplier and no seed; draw a secret one from "
            "std::random_device");
  EXPECT_EQ(error_of([&] {
              record(model.cost(), model.vars, chain(), GradientDescent{},
                     {.loss_scale = LossScale{}, .per_example = PerExample{}});
            }),
            "record: per_example takes no loss_scale and no sharpness beside it");
  Step mean = record([&](Value x, Value y) { return reduce_mean(model.losses(x, y)[0]); },
                     model.vars, chain(), GradientDescent{}, {.per_example = PerExample{}});
  EXPECT_EQ(error_of([&] { mean(model.x, model.y); }),
            "record: with per_example the cost returns one loss an example, [batch], and metrics "
            "[batch, ...]; result 0 of one example is float64 []");
  Step train = model.step({});
  EXPECT_EQ(error_of([&] { train(model.x, model.y.piece(0, {4})); }),
            "record: with per_example axis 0 of every input is the example, got int64 [6, 5] and "
            "int64 [4]");
  train(model.x, model.y);
  EXPECT_EQ(error_of([&] {
              train(model.x.piece(0, {4, kSteps}), model.y.piece(0, {4}));
            }),
            "Step: input 0 is int64 [4, 5], recorded with int64 [6, 5]; make batches equal");
}

}  // namespace
}  // namespace rein
