// Steps of several ranks: the mean gradient before checks and clips, and the same bits everywhere.
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "support/error_text.h"
#include "train/model.h"

namespace rein {
namespace {

using test::error_of;
using Weights = std::vector<std::vector<double>>;

struct Part {
  Tensor x, y, ids;
};
// Of micro-batch `number`: as many rows as any, one of them of `e` twice.
Part part(const SmallModel& m, int64_t number) {
  const int64_t row = number % 3;
  return {m.x.piece(row * 3, {2, 3}), m.y.piece(row * 2, {2, 2}),
          Tensor::of<int64_t>({3}, {number % 5, 2, number % 5})};
}

auto with_dropout(const SmallModel& m) {
  return [&](Value x, Value y, Value ids) { return m.loss(dropout(x, 0.3), y, ids); };
}

// What each rank ends with; `f` returns it.
template <class F>
auto of_ranks(int size, F f) {
  std::vector<decltype(f(std::declval<Communicator&>()))> all(static_cast<size_t>(size));
  run_ranks(size, [&](Communicator& ranks) { all[static_cast<size_t>(ranks.rank())] = f(ranks); });
  return all;
}

struct Outcome {
  Weights weights;
  StepInfo info;
};

struct Case {
  const char* name;
  AnyRule rule;
  StepOptions options{};
};
const std::vector<Case> kCases = {
    {"descent", GradientDescent{.learning_rate = 0.1}},
    {"momentum", Momentum{.learning_rate = 0.1}},
    {"Adam, loss scale", Adam{}, {.loss_scale = LossScale{.initial = 64, .growth_interval = 2}}},
    {"Adam, rollback", Adam{}, {.rollback = Rollback{}}},
    {"an average, SAM", WeightAverage{.rule = Adam{}}, {.sharpness = Sharpness{.rho = 0.1}}},
    {"Lookahead", Lookahead{.rule = Adam{}, .sync_period = 2}},
};

TEST(Ranks, AreMicroBatchesToTheBit) {
  for (const Case& c : kCases)
    for (const int size : {1, 2, 3, 5}) {
      SCOPED_TRACE(testing::Message() << c.name << ", " << size << " ranks");
      const auto clip = [] {
        return chain(CheckFinite{}, ClipByValue{-0.5, 0.5}, ClipByGlobalNorm{.clip_norm = 0.4});
      };
      SmallModel one;
      Step accumulating = record(with_dropout(one), one.vars, clip(), c.rule, c.options);
      StepInfo want;
      for (int t = 0; t < 4; ++t) {
        for (int k = 0; k + 1 < size; ++k) {
          const Part p = part(one, t + k);
          accumulating.accumulate(p.x, p.y, p.ids);
        }
        const Part p = part(one, t + size - 1);
        want = accumulating(p.x, p.y, p.ids);
      }
      EXPECT_TRUE(want.clipped);

      const auto outcomes = of_ranks(size, [&](Communicator& ranks) {
        SmallModel model;
        StepOptions options = c.options;
        options.threads = 1 + ranks.rank() % 2;
        options.communicator = &ranks;
        Step step = record(with_dropout(model), model.vars, clip(), c.rule, options);
        Outcome end;
        for (int t = 0; t < 4; ++t) {
          const Part p = part(model, t + ranks.rank());
          end.info = step(p.x, p.y, p.ids);
        }
        end.weights = model.weights();
        return end;
      });
      for (const auto& [weights, info] : outcomes) {
        EXPECT_EQ(weights, one.weights());
        EXPECT_EQ(info.loss, want.loss);
        EXPECT_EQ(info.norm, want.norm);
        EXPECT_EQ(info.clipped_norm, want.clipped_norm);
        EXPECT_EQ(info.micro_batches, size);
        EXPECT_EQ(info.loss_scale, want.loss_scale);
      }
    }
}

// Halves and thirds of a batch, some of them in two micro-batches.
TEST(Ranks, OnPartsOfABatchTakeTheClippedStepOfTheWhole) {
  constexpr int64_t kRows = 12;
  const Tensor x = tensor({kRows, 3}, noise(36, 3), DType::float64);
  const Tensor y = tensor({kRows, 2}, noise(24, 4), DType::float64);
  const auto train = [&](Communicator& ranks, int micro_batches) {
    Variables vars{Seed{1}, DType::float64};
    const Variable w = vars.add("w", {3, 2}, glorot_uniform());
    const auto cost = [&](Value in, Value out) {
      return reduce_mean(square(tanh(matmul(in, w)) - out));
    };
    Step step = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 0.05}), Adam{},
                       {.threads = 1, .batch_axis = 0, .communicator = &ranks});
    const int64_t rows = kRows / ranks.size() / micro_batches;
    Outcome end;
    for (int t = 0; t < 5; ++t)
      for (int k = 0; k < micro_batches; ++k) {
        const int64_t first = (ranks.rank() * micro_batches + k) * rows;
        const Tensor some_x = x.piece(first * 3, {rows, 3}), some_y = y.piece(first * 2, {rows, 2});
        if (k + 1 < micro_batches)
          step.accumulate(some_x, some_y);
        else
          end.info = step(some_x, some_y);
      }
    EXPECT_EQ(end.info.micro_batches, micro_batches * ranks.size());
    EXPECT_EQ(end.info.examples, rows);
    end.weights = {numbers(w.read())};
    return end;
  };
  Serial alone;
  const Outcome whole = train(alone, 1);
  ASSERT_TRUE(whole.info.clipped);
  for (const int size : {2, 3})
    for (const int micro_batches : {1, 2}) {
      const auto outcomes =
          of_ranks(size, [&](Communicator& ranks) { return train(ranks, micro_batches); });
      for (const Outcome& outcome : outcomes) {
        EXPECT_EQ(outcome.weights, outcomes[0].weights);
        // Sums over the batch in another order; Adam divides by gradients that are not tiny.
        EXPECT_NEAR(outcome.info.norm, whole.info.norm, 1e-13);
        EXPECT_NEAR(outcome.info.loss, whole.info.loss, 1e-13);
        for (size_t i = 0; i < 6; ++i)
          EXPECT_NEAR(outcome.weights[0][i], whole.weights[0][i], 1e-13) << size << " ranks";
      }
    }
}

TEST(Ranks, OneThatTookMoreMicroBatchesWeighsMore) {
  const auto norms = of_ranks(2, [](Communicator& ranks) {
    Variables vars({}, DType::float64);
    const Variable v = add_variable(vars, "v", {1}, {0});
    Step step = record([&](Value x) { return reduce_sum(x * v); }, vars, MeasureNorm{},
                       GradientDescent{}, {.communicator = &ranks});
    if (ranks.rank() == 0) {
      step.accumulate(tensor({1}, {3}, DType::float64));
      step.accumulate(tensor({1}, {5}, DType::float64));
    }
    return step(tensor({1}, {ranks.rank() == 0 ? 7.0 : 1.0}, DType::float64)).norm;
  });
  EXPECT_EQ(norms, std::vector<double>(2, (3 + 5 + 7 + 1) / 4.0));
}

TEST(Ranks, AbsentAndSparseGradients) {
  struct Seen {
    std::vector<Gradients::Kind> kinds;
    std::vector<Gradient> gradients;
  };
  const auto all = of_ranks(3, [](Communicator& ranks) {
    SmallModel m(DType::float64);
    const int rank = ranks.rank();
    // w: dense on rank 0 alone. unused: nowhere. b: rows here, dense there. e: rows on ranks 1, 2.
    const auto cost = [&](Value one, Value ids) {
      if (rank == 0) return reduce_sum(one * 3.0 * m.w) + reduce_sum(gather(m.b, ids));
      const Value of_e = reduce_sum(gather(m.e, ids));
      return rank == 1 ? of_e * 6.0 + reduce_sum(one * 9.0 * m.b) : of_e * 30.0;
    };
    Seen seen;
    const auto look = [&](Gradients& g, const Variables&, StepInfo&) {
      g.merge_duplicates();
      for (size_t i = 0; i < g.size(); ++i) {
        seen.kinds.push_back(g.kind(i));
        seen.gradients.push_back(g.get(i));
      }
    };
    Step step = record(cost, m.vars, look, GradientDescent{}, {.communicator = &ranks});
    const Tensor ids[] = {Tensor::of<int64_t>({2}, {1, 1}), Tensor::of<int64_t>({3}, {4, 1, 4}),
                          Tensor::of<int64_t>({1}, {1})};
    for (int t = 0; t < 2; ++t) {  // the second time with what the first left behind
      seen = {};
      step(tensor({}, {1}, DType::float64), ids[rank]);
    }
    return seen;
  });
  using K = Gradients::Kind;
  for (const auto& [kinds, gradients] : all) {
    EXPECT_EQ(kinds, std::vector<K>({K::dense, K::absent, K::dense, K::sparse}));
    EXPECT_EQ(numbers(gradients[0]), std::vector<double>(6, 1));
    EXPECT_EQ(numbers(gradients[2]), std::vector<double>({3, 3 + 2.0 / 3}));
    EXPECT_EQ(numbers(Tensor(gradients[3].sparse().indices)), std::vector<double>({1, 4}));
    EXPECT_EQ(numbers(gradients[3]), std::vector<double>({12, 12, 4, 4}));
  }
}

TEST(Ranks, OneBadGradientIsSkippedByAll) {
  const auto ends = of_ranks(2, [](Communicator& ranks) {
    SmallModel m;
    Step step = record(m.cost(), m.vars, ClipByGlobalNorm{.clip_norm = 1}, Adam{},
                       {.loss_scale = LossScale{.initial = 64}, .communicator = &ranks});
    Tensor bad = m.x.clone();
    if (ranks.rank() == 1) bad.flat<float>()[0] = std::nanf("");
    const Weights before = m.weights();
    const StepInfo info = step(bad, m.y, m.ids);
    EXPECT_TRUE(info.skip) << ranks.rank();
    EXPECT_EQ(info.non_finite, "w") << ranks.rank();
    EXPECT_EQ(m.weights(), before);
    EXPECT_EQ(step.loss_scale(), 32);
    EXPECT_FALSE(step(m.x, m.y, m.ids).skip);
    EXPECT_NE(m.weights(), before);
    return m.weights();
  });
  EXPECT_EQ(ends[0], ends[1]);
}

TEST(Ranks, DecideByTheLossOfAll) {
  run_ranks(2, [](Communicator& ranks) {
    SmallModel m;
    Step step =
        record(m.cost(), m.vars, chain(), GradientDescent{.learning_rate = 1e-3},
               {.rollback = Rollback{.most_bad = 0, .loss_above = 10}, .communicator = &ranks});
    step(m.x, m.y, m.ids);
    const Weights healthy = m.weights();
    Tensor far = m.y.clone();
    if (ranks.rank() == 1)
      for (float& v : far.flat<float>()) v = 100;
    const StepInfo info = step(m.x, far, m.ids);
    EXPECT_TRUE(info.rolled_back) << ranks.rank();
    EXPECT_NE(m.weights(), healthy);  // those before the first step
    EXPECT_EQ(m.weights(), SmallModel().weights());
  });
}

TEST(Ranks, ClipExamplesAndAddNoiseOnce) {
  const auto train = [](Communicator& ranks) {
    Variables vars{Seed{1}, DType::float64};
    const Variable w = vars.add("w", {3, 1}, glorot_uniform());
    const auto losses = [&](Value in) {
      return reduce_sum(square(matmul(in, w) - 1.0), {.axes = {1}});
    };
    Step step =
        record(losses, vars, chain(), GradientDescent{.learning_rate = 0.1},
               {.per_example = PerExample{.clip_norm = 1, .noise_multiplier = 0.5, .seed = 6},
                .communicator = &ranks});
    const Tensor x = tensor({6, 3}, noise(18, 8), DType::float64);
    const int64_t rows = 6 / ranks.size();
    Outcome end;
    for (int t = 0; t < 3; ++t) end.info = step(x.piece(ranks.rank() * rows * 3, {rows, 3}));
    end.weights = {numbers(w.read())};
    return end;
  };
  Serial alone;
  const Outcome whole = train(alone);
  ASSERT_GT(whole.info.clipped_examples, 0);
  for (const Outcome& part : of_ranks(3, train)) {
    EXPECT_EQ(part.info.clipped_examples, whole.info.clipped_examples);
    for (size_t i = 0; i < 3; ++i)  // another order of sums
      EXPECT_NEAR(part.weights[0][i], whole.weights[0][i], 1e-13);
  }
}

TEST(Ranks, SeedsOfTheNoiseMustBeTheSame) {
  const auto end = of_ranks(2, [](Communicator& ranks) {
    Variables vars{Seed{1}};
    const Variable w = vars.add("w", {3}, ones());
    Step step = record([&](Value in) { return reduce_sum(in * w, {.axes = {1}}); }, vars, chain(),
                       GradientDescent{},
                       {.per_example = PerExample{.clip_norm = 1,
                                                  .noise_multiplier = 0.5,
                                                  .seed = static_cast<uint64_t>(ranks.rank())},
                        .communicator = &ranks});
    return error_of([&] { step(Tensor({2, 3})); });
  });
  EXPECT_NE(end[0].find("rank 1 does not train the same as rank 0"), std::string::npos) << end[0];
  EXPECT_NE(end[1].find("fingerprint of per_example.seed: "), std::string::npos) << end[1];
}

TEST(Ranks, GoOnFromASavedState) {
  const auto train = [](Communicator& ranks, SmallModel& m, Step& step, int from, int to) {
    for (int t = from; t < to; ++t) {
      const Part p = part(m, t + ranks.rank());
      step(p.x, p.y, p.ids);
    }
  };
  const auto step_of = [](Communicator& ranks, SmallModel& m) {
    return record(m.cost(), m.vars, AutoClip{.window = 3}, Adam{}, {.communicator = &ranks});
  };
  StateDict saved;
  const auto want = of_ranks(2, [&](Communicator& ranks) {
    SmallModel m;
    Step step = step_of(ranks, m);
    train(ranks, m, step, 0, 2);
    if (ranks.rank() == 0) saved = step.state();
    train(ranks, m, step, 2, 4);
    return m.weights();
  });
  const auto got = of_ranks(2, [&](Communicator& ranks) {
    SmallModel m;
    Step step = step_of(ranks, m);
    step.load_state(saved);
    train(ranks, m, step, 2, 4);
    return m.weights();
  });
  EXPECT_EQ(want[0], want[1]);
  EXPECT_EQ(got, want);
}

// What only rank 1 does otherwise, and what both say of it.
TEST(Ranks, ThatDoNotTrainTheSameAreRefused) {
  struct Other {
    const char* text;
    std::string variable = "v";
    Shape shape{2};
    double number = 1, learning_rate = 0.1;
    int steps = 0;
  };
  const Other others[] = {
      {.text = "rank 1 has 'u' float32 [2] with", .variable = "u"},
      {.text = "rank 1 has 'v' float32 [3] with", .shape = {3}},
      {.text = "rank 1 has 'v' float32 [2] with", .number = 2},
      {.text = "rank 1 has rule/learning_rate: 0.2, rank 0 has rule/learning_rate: 0.1",
       .learning_rate = 0.2},
      {.text = "rank 1 has 1 steps, rank 0 has 0 steps", .steps = 1}};
  for (const Other& other : others) {
    const auto texts = of_ranks(2, [&](Communicator& ranks) {
      const Other mine = ranks.rank() == 1 ? other : Other{};
      Variables vars;
      const Variable v =
          add_variable(vars, mine.variable, mine.shape,
                       std::vector<double>(static_cast<size_t>(mine.shape.size()), mine.number));
      const auto step_of = [&](Communicator* all) {
        return record([&](Value x) { return reduce_sum(x * v); }, vars, chain(),
                      GradientDescent{.learning_rate = mine.learning_rate}, {.communicator = all});
      };
      const Tensor zero = Tensor::of<float>({1}, {0});
      Step step = step_of(&ranks);
      if (mine.steps > 0) {
        Step alone = step_of(nullptr);
        alone(zero);
        step.load_state(alone.state());
      }
      const std::vector<double> before = numbers(v.read());
      const std::string text = error_of([&] { step(Tensor::of<float>({1}, {1})); });
      EXPECT_EQ(numbers(v.read()), before);
      return text;
    });
    for (const std::string& text : texts)
      EXPECT_NE(text.find("rank 1 does not train the same as rank 0"), std::string::npos) << text;
    EXPECT_NE(texts[1].find(other.text), std::string::npos) << texts[1];
  }
}

void change(StateValue& value) {
  if (Tensor* tensor = std::get_if<Tensor>(&value)) {
    *tensor = tensor->clone();
    if (tensor->size() == 0)
      *tensor = Tensor({1}, tensor->dtype());
    else
      static_cast<std::byte*>(tensor->data())[0] ^= std::byte{1};
  } else if (double* number = std::get_if<double>(&value)) {
    *number = 3;
  } else {
    ++std::get<int64_t>(value);
  }
}

// They went on from different files; the parameters in them are the same.
TEST(Ranks, ThatRememberSomethingElseAreRefused) {
  const auto step_of = [](SmallModel& m, Communicator* ranks) {
    const ReduceOnPlateau rate({.initial = 0.1});
    return record(m.cost(), m.vars, AutoClip{}, Adam{.learning_rate = rate},
                  {.loss_scale = LossScale{}, .rollback = Rollback{}, .communicator = ranks});
  };
  SmallModel first;
  Step once = step_of(first, nullptr);
  once(first.x, first.y, first.ids);
  const StateDict saved = once.state();
  int compared = 0;
  for (const auto& [name, value] : saved) {
    if (name.starts_with("parameters/") || name.starts_with("settings/")) continue;
    StateDict other = saved;
    change(other.at(name));
    const auto texts = of_ranks(2, [&](Communicator& ranks) {
      SmallModel m;
      Step step = step_of(m, &ranks);
      step.load_state(ranks.rank() == 1 ? other : saved);
      const std::string text = error_of([&] { step(m.x, m.y, m.ids); });
      EXPECT_EQ(m.weights(), first.weights());
      return text;
    });
    EXPECT_NE(texts[0].find("rank 1 does not train the same as rank 0"), std::string::npos) << name;
    EXPECT_NE(texts[1].find(name == "step" ? "rank 1 has 2 steps, rank 0 has 1 steps"
                                           : "rank 1 has " + name + ": "),
              std::string::npos)
        << name << "\n"
        << texts[1];
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

// Nobody can load it, so it begins alike.
TEST(Ranks, MayHaveTransformsThatDoNotListWhatTheyRemember) {
  struct Counting {
    struct State {
      int64_t count = 0;
    };
    State init(const Variables&) const { return {}; }
    void update(Gradients&, State& state, const Variables&, StepInfo&) const { ++state.count; }
  };
  run_ranks(2, [](Communicator& ranks) {
    SmallModel m;
    Step step =
        record(m.cost(), m.vars, chain(Counting{}, AutoClip{}), Adam{}, {.communicator = &ranks});
    if (ranks.rank() == 0) step.accumulate(m.x, m.y, m.ids);
    EXPECT_EQ(step(m.x, m.y, m.ids).micro_batches, 3);
  });
}

}  // namespace
}  // namespace rein
