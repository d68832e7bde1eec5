// Recordings: what a replay computes, where it computes it, and what it refuses.
#include "rein/compute/recording.h"

#include <cmath>
#include <cstring>

#include "compute/support.h"

namespace rein {
namespace {

using test::error_of;
using test::Numbers;
using test::numbers;
using In = std::span<const Value>;

const Spec kRow{{2, 3}, DType::float32};

TEST(Recording, ReplaysWhatTheTapeComputes) {
  ThreadTeam team;
  Variables vars(Seed{5});
  const Variable w = vars.add("w", {3, 4}, test::normal()), b = vars.add("b", {4}, test::normal());
  const ModelFunction model = [&](In in) {
    const Value y = tanh(matmul(in[0], w) + b);
    return Values{reduce_mean(square(y)), y};
  };
  GradientRecording step(model, {&kRow, 1}, vars, team);
  for (uint64_t k = 0; k < 3; ++k) {
    const Tensor x = test::draw(kRow, k);
    step.run({&x, 1});
    GradientTape tape;
    const Value in = tape.input(x);
    const Values want = model({&in, 1});
    EXPECT_EQ(step.loss(), want[0].item());
    EXPECT_EQ(numbers(step.metric(0)), numbers(want[1].tensor()));
    const auto d = tape.gradient(want[0], vars);
    for (size_t i = 0; i < vars.size(); ++i)
      EXPECT_EQ(numbers(step.gradients().get(i).dense()), numbers(d[i].dense()));
    vars.assign(w, test::draw(w.spec(), 100 + k));  // the next run reads the new numbers
  }
}

TEST(Recording, GuardsItsInputs) {
  ThreadTeam team;
  Recording r = record_forward([](In in) { return Values{in[0] + in[1]}; },
                               std::vector<Spec>{kRow, {{}, DType::float32}}, team);
  EXPECT_EQ(r.input_count(), 2u);
  EXPECT_EQ(r.input_spec(0), kRow);
  EXPECT_EQ(error_of([&] { r.output(0); }), "Recording::output: it has not run yet");
  const auto run = [&](std::vector<Tensor> in) { r.run(in); };
  EXPECT_EQ(error_of([&] { run({Tensor({2, 3})}); }), "Recording::run: 1 inputs, recorded with 2");
  EXPECT_EQ(error_of([&] {
              run({Tensor({3, 2}), Tensor(Shape{})});
            }),
            "Recording::run: input 0 is float32 [3, 2], recorded with float32 [2, 3]; record once "
            "a shape, or make batches equal");
  EXPECT_EQ(error_of([&] {
              run({Tensor({2, 3}), Tensor(Shape{}, DType::float64)});
            }),
            "Recording::run: input 1 is float64 [], recorded with float32 []; record once a shape, "
            "or make batches equal");
  const int line = __LINE__ + 1;
  EXPECT_TRUE(test::names_place([&] { r.run({}); }, __FILE__, line));
  run({Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}), Tensor::scalar(10.f)});
  EXPECT_EQ(numbers(r.output(0)), (Numbers{11, 12, 13, 14, 15, 16}));
}

TEST(Recording, RefusesWhatItCannotRecord) {
  ThreadTeam team;
  Variables vars;
  const Variable w = vars.add("w", {3}, test::filled(1));
  const auto record = [&](const ModelFunction& f) {
    return error_of([&] { GradientRecording(f, {&kRow, 1}, vars, team); });
  };
  EXPECT_EQ(record([&](In in) { return Values{mul(in[0], w)}; }),
            "record: the loss is float32 [2, 3], not one number; take reduce_mean");
  EXPECT_EQ(record([](In) { return Values{}; }), "record: the function returned nothing");
  EXPECT_EQ(record([](In) { return Values{Value()}; }),
            "record: the function returned a value of another tape or none");
  EXPECT_EQ(record([](In in) { return Values{cast(reduce_sum(in[0]), DType::int32)}; }),
            "gradients: the loss is int32 []");
  GradientTape tape;
  const Value elsewhere = tape.input(Tensor::scalar(1.f));
  EXPECT_EQ(record([&](In) { return Values{elsewhere}; }),
            "record: the function returned a value of another tape or none");
  EXPECT_EQ(record([&](In in) { return Values{reduce_sum(in[0]) + elsewhere}; }),
            "add: the operands belong to different tapes");
  EXPECT_EQ(record([&](In in) { return Values{tape.input(in[0].tensor())}; }),
            "Value::tensor: a value of a recorded function has no numbers until the function runs; "
            "use a GradientTape to look inside");
  EXPECT_EQ(record([&](In in) { return Values{reduce_sum(matmul(in[0], w))}; }).substr(0, 7),
            "matmul:");
}

TEST(Recording, NewVariablesNeedANewOne) {
  ThreadTeam team;
  Variables vars;
  const Variable w = vars.add("w", {3}, test::filled(1));
  GradientRecording step([&](In in) { return Values{reduce_sum(mul(in[0], w))}; }, {&kRow, 1}, vars,
                         team);
  const Tensor x(kRow);
  step.run({&x, 1});
  vars.add("late", {2}, test::filled(1));
  EXPECT_EQ(error_of([&] {
              step.run({&x, 1});
            }),
            "Recording::run: variables were added after the step was recorded; record it anew");
}

TEST(Recording, FindsParametersThatMoved) {
  ThreadTeam team;
  Variables vars;
  const Variable w = vars.add("w", {3}, test::counting());
  Recording r = record_forward([&](In in) { return Values{mul(in[0], w)}; }, {&kRow, 1}, team);
  const Tensor x = Tensor::of<float>(kRow.shape, {1, 1, 1, 1, 1, 1});
  r.run({&x, 1});
  EXPECT_EQ(numbers(r.output(0)), (Numbers{1, 2, 3, 1, 2, 3}));
  const void* before = vars.block();
  for (int i = 0; vars.block() == before; ++i) vars.add(std::to_string(i), {1000}, test::filled(9));
  vars.assign(w, Tensor::of<float>({3}, {4, 5, 6}));
  r.run({&x, 1});
  EXPECT_EQ(numbers(r.output(0)), (Numbers{4, 5, 6, 4, 5, 6}));
}

TEST(Recording, DropsDeadCode) {
  ThreadTeam team;
  const auto count = [&](const ModelFunction& f) {
    return record_forward(f, {&kRow, 1}, team).instruction_count();
  };
  EXPECT_EQ(count([](In in) {
              exp(in[0] + 1.0);  // nobody asks for it
              return Values{tanh(in[0])};
            }),
            1u);
  EXPECT_EQ(count([](In in) { return Values{in[0]}; }), 0u);
  // The gradient of the input is described, but not computed: two products, a sum and its way back.
  Variables vars;
  const Variable w = vars.add("w", {3, 4}, test::filled(1));
  const GradientRecording step([&](In in) { return Values{reduce_sum(matmul(in[0], w))}; },
                               {&kRow, 1}, vars, team);
  EXPECT_EQ(step.recording().instruction_count(), 4u);
}

TEST(Recording, LongChainsUseLittleMemory) {
  ThreadTeam team;
  const Spec spec{{100, 100}, DType::float32};
  const auto chain = [](In in) {
    Value y = in[0];
    for (int i = 0; i < 300; ++i) y = tanh(y + 0.01);
    return Values{y};
  };
  Recording r = record_forward(chain, {&spec, 1}, team);
  EXPECT_EQ(r.instruction_count(), 600u);
  // An op's argument and result are alive at once, nothing else.
  EXPECT_LE(r.arena_bytes(), 2 * round_up(spec.bytes(), Buffer::kAlignment));
  const Tensor x = test::draw(spec, 1);
  r.run({&x, 1});
  GradientTape tape;
  const Value in = tape.input(x);
  EXPECT_EQ(numbers(r.output(0)), numbers(chain({&in, 1})[0].tensor()));
}

TEST(Recording, ResultsTakeOverArgumentsThatDie) {
  ThreadTeam team;
  const Spec logits{{64, 100}, DType::float32}, labels{{64}, DType::int32};
  const Spec specs[] = {logits, labels};
  const auto arrays = [&](const ModelFunction& f) {
    const Recording r = record_forward(f, specs, team);
    return r.arena_bytes() / logits.bytes();  // small ones are less than one
  };
  const auto loss_of = [](const Value& x, In in) {
    return reduce_sum(sparse_softmax_cross_entropy_with_logits(x, in[1]));
  };
  // Beside the input, which lives on: logits, whose gradient takes their place, ...
  EXPECT_EQ(arrays([&](In in) {
              const Value x = tanh(in[0]);
              return Values{gradients(loss_of(x, in), {&x, 1})[0], in[0]};
            }),
            2u);
  // ... one array that a chain goes through, also as the second argument.
  EXPECT_EQ(arrays([&](In in) { return Values{1.0 - exp(tanh(in[0] + 1.0)), in[0]}; }), 2u);
  // Not where the argument is read later, or is an output.
  EXPECT_EQ(arrays([&](In in) {
              const Value x = tanh(in[0]);
              return Values{exp(x) / x, in[0]};
            }),
            3u);
  EXPECT_EQ(arrays([&](In in) {
              const Value x = tanh(in[0]);
              return Values{exp(x), x, in[0]};
            }),
            3u);
}

// A graph with values of many sizes and many spans of life.
Values tangle(In in) {
  Values alive = {in[0]};
  const RandomStream random(Seed{3}, 1);
  for (uint64_t k = 0; k < 300; ++k) {
    const Value a = alive[random.below(4 * k, alive.size())];
    const Value b = alive[random.below(4 * k + 1, alive.size())];
    const int64_t n = std::min(a.shape()[0], b.shape()[0]);
    const Value both = slice(a, {a.shape()[0] - n}, {n}) + 0.5 * slice(b, {0}, {n});
    switch (random.below(4 * k + 2, 4)) {
      case 0:
        alive.push_back(concat(Values{both, both}));
        break;
      case 1:
        alive.push_back(tanh(slice(both, {0}, {(n + 1) / 2})));
        break;
      case 2:
        alive[random.below(4 * k + 3, alive.size())] = tanh(both);
        break;
      default:
        alive.push_back(tanh(broadcast_to(reduce_sum(both), {n})));
    }
    if (alive.back().shape()[0] > 500) alive.back() = slice(alive.back(), {0}, {77});
  }
  return alive;
}

TEST(Recording, SharedMemoryDoesNotChangeResults) {
  ThreadTeam team;
  const Spec spec{{50}, DType::float64};
  size_t sum = 0;
  const auto model = [&](In in) {
    Values all = tangle(in);
    Value loss = reduce_sum(all[0]);
    for (const Value& v : all) loss = loss + reduce_mean(square(v));
    const Value x = in[0];
    Values outputs{loss, gradients(loss, {&x, 1})[0]};
    outputs.insert(outputs.end(), all.begin(), all.begin() + 3);
    return outputs;
  };
  Recording r = record_forward(model, {&spec, 1}, team);
  for (const auto& node : r.graph().nodes())
    for (const Spec& s : node.out) sum += s.bytes();
  EXPECT_LT(r.arena_bytes(), sum / 2);
  for (uint64_t k = 0; k < 3; ++k) {
    const Tensor x = test::draw(spec, k);
    r.run({&x, 1});
    GradientTape tape;
    const Value in = tape.input(x);
    const Values want = model({&in, 1});
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_EQ(numbers(r.output(i)), numbers(want[i].tensor())) << i;
  }
}

TEST(Recording, MeasuresItsOps) {
  ThreadTeam team;
  Recording r = record_forward(
      [](In in) {
        return Values{tanh(exp(in[0])), exp(in[0] + 1.0)};
      },
      {&kRow, 1}, team);
  const Tensor x(kRow);
  r.run({&x, 1});
  EXPECT_TRUE(r.op_times().empty());
  r.profile(true);
  r.run({&x, 1});
  r.run({&x, 1});
  std::vector<std::pair<std::string_view, int64_t>> calls;
  for (const OpTime& t : r.op_times()) {
    calls.emplace_back(t.name, t.calls);
    EXPECT_GT(t.seconds, 0) << t.name;
  }
  EXPECT_EQ(calls, (std::vector<std::pair<std::string_view, int64_t>>{
                       {"exp", 4}, {"tanh", 2}, {"add", 2}}));
  r.profile(false);
  r.run({&x, 1});
  EXPECT_TRUE(r.op_times().empty());
}

TEST(Recording, InputsAreCopiedAndMayBeOutputs) {
  ThreadTeam team;
  Recording r = record_forward(
      [](In in) {
        const Value y = tanh(exp(in[0]));
        return Values{y, in[0], reshape(in[0], {6})};
      },
      {&kRow, 1}, team);
  Tensor x = test::draw(kRow, 1);
  const Numbers want = numbers(x);
  r.run({&x, 1});
  for (float& v : x.flat<float>()) v = 0;
  EXPECT_EQ(numbers(r.output(1)), want);
  EXPECT_EQ(numbers(r.output(2)), want);
}

TEST(Recording, TheSameOutputTwiceAndConstants) {
  ThreadTeam team;
  Recording r = record_forward(
      [](In in) {
        const Value y = tanh(in[0]);
        return Values{y, y, in[0].graph().constant(Tensor::scalar(3.f))};
      },
      {&kRow, 1}, team);
  const Tensor x = test::draw(kRow, 1);
  r.run({&x, 1});
  EXPECT_EQ(numbers(r.output(0)), numbers(r.output(1)));
  EXPECT_EQ(r.output(2).item(), 3);
}

TEST(Recording, EmptyBatches) {
  ThreadTeam team;
  const Spec none{{0, 3}, DType::float32};
  Recording r = record_forward(
      [](In in) {
        return Values{tanh(in[0]), reduce_sum(in[0], {.axes = {0}})};
      },
      {&none, 1}, team);
  const Tensor x(none);
  r.run({&x, 1});
  EXPECT_EQ(r.output(0).size(), 0);
  EXPECT_EQ(numbers(r.output(1)), (Numbers{0, 0, 0}));
}

TEST(Recording, PinnedOutputsAreComputedInPlace) {
  ThreadTeam team;
  Recording r = record_forward(
      [](In in) {
        const Value y = tanh(in[0]);
        const Values halves = split(y, 2);
        return Values{exp(y), halves[1], in[0], reshape(exp(y), {6})};
      },
      {&kRow, 1}, team);
  std::vector<float> place(6);
  EXPECT_TRUE(r.pin_output(0, place.data()));
  EXPECT_FALSE(r.pin_output(0, place.data()));  // is already
  EXPECT_FALSE(r.pin_output(1, place.data()));  // part of something else
  EXPECT_FALSE(r.pin_output(2, place.data()));  // an input
  std::vector<float> other(6);
  EXPECT_TRUE(r.pin_output(3, other.data()));  // a view of a whole
  const Tensor x = test::draw(kRow, 1);
  r.run({&x, 1});
  EXPECT_EQ(r.output(0).data(), place.data());
  const auto in = x.flat<float>();
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(place[i], std::exp(std::tanh(in[i])), 1e-6);  // a few ulps of float32
    EXPECT_EQ(other[i], place[i]);
  }
  EXPECT_EQ(numbers(r.output(1)).size(), 3u);
  EXPECT_FALSE(r.pin_output(1, place.data()));
}

TEST(GradientRecording, DenseGradientsLandInTheirBlock) {
  ThreadTeam team;
  Variables vars;
  const Variable a = vars.add("a", {3}, test::counting()), b = vars.add("b", {3}, test::filled(2));
  vars.add("not used", {5}, test::filled(1));
  // a and b get one and the same value as gradient; only one can be computed in place.
  GradientRecording step(
      [&](In in) { return Values{reduce_sum(square(add(in[0].graph().parameter(a), b)))}; },
      {&kRow, 1}, vars, team);
  const Tensor x(kRow);
  step.run({&x, 1});
  Gradients& g = step.gradients();
  EXPECT_EQ(numbers(g.get(0).dense()), (Numbers{6, 8, 10}));
  EXPECT_EQ(numbers(g.get(1).dense()), (Numbers{6, 8, 10}));
  EXPECT_EQ(g.kind(2), Gradients::Kind::absent);
  EXPECT_EQ(step.loss(), 9 + 16 + 25);
  // Transforms write to gradients; the next run starts anew, with scale 1.
  for (size_t i : {0u, 1u})
    for (float& v : g.dense<float>(i)) v = -100;
  g.scale = 0.25;
  step.run({&x, 1});
  EXPECT_EQ(g.scale, 1);
  EXPECT_EQ(numbers(g.get(0).dense()), (Numbers{6, 8, 10}));
  EXPECT_EQ(numbers(g.get(1).dense()), (Numbers{6, 8, 10}));
}

struct RecordedRows : testing::Test {
  ThreadTeam team;
  Variables vars;
  Variable table = vars.add("table", {4, 2}, test::counting());
  Spec indices{{3}, DType::int32};
  GradientRecording step{
      [&](In in) {
        return Values{reduce_sum(square(gather(in[0].graph().parameter(table), in[0])))};
      },
      {&indices, 1},
      vars,
      team};
};

TEST_F(RecordedRows, StaySparseAndFollowTheInput) {
  for (const auto& [rows, want] :
       {std::pair{Tensor::of<int32_t>({3}, {2, 0, 2}), Numbers{2, 4, 0, 0, 20, 24, 0, 0}},
        std::pair{Tensor::of<int32_t>({3}, {3, 3, 3}), Numbers{0, 0, 0, 0, 0, 0, 42, 48}}}) {
    step.run({&rows, 1});
    ASSERT_EQ(step.gradients().kind(0), Gradients::Kind::sparse);
    EXPECT_EQ(numbers(to_dense(step.gradients().get(0).sparse())), want);
  }
}

TEST_F(RecordedRows, AnIndexOutsideIsLoudAndHarmless) {
  const auto bad = Tensor::of<int32_t>({3}, {2, 4, 2});
  EXPECT_EQ(error_of([&] {
              step.run({&bad, 1});
            }),
            "IndexedSlices: index 4 is not a row of [4, 2]");
  EXPECT_TRUE(std::isnan(step.loss()));
  const auto good = Tensor::of<int32_t>({3}, {2, 0, 2});
  step.run({&good, 1});
  EXPECT_EQ(step.loss(), 1 + 4 + 2 * (25 + 36));
}

TEST(GradientRecording, RandomOpsDrawByStep) {
  ThreadTeam team;
  Variables vars;
  const Variable w = vars.add("w", {100}, test::filled(1));
  const Spec none{{}, DType::float32};
  const auto model = [&](In in) {
    return Values{reduce_sum(dropout(in[0].graph().parameter(w), 0.5) * in[0])};
  };
  GradientRecording step(model, {&none, 1}, vars, team, Seed{9});
  const Tensor one = Tensor::scalar(1.f);
  const auto draw = [&](uint64_t k) {
    step.run({&one, 1}, k);
    return numbers(step.gradients().get(0).dense());
  };
  const Numbers first = draw(1);
  EXPECT_NE(draw(2), first);
  EXPECT_EQ(draw(1), first);
  GradientTape tape({.seed = Seed{9}, .step = 1});  // draws the same
  const Value in = tape.input(one);
  EXPECT_EQ(numbers(tape.gradient(model({&in, 1})[0], vars)[0].dense()), first);
}

TEST(GradientRecording, MovesWithItsMemory) {
  ThreadTeam team;
  Variables vars;
  const Variable w = vars.add("w", {3}, test::counting());
  GradientRecording a(
      [&](In in) { return Values{reduce_sum(mul(in[0], in[0].graph().parameter(w)))}; }, {&kRow, 1},
      vars, team);
  GradientRecording b = std::move(a);
  const Tensor x = Tensor::of<float>(kRow.shape, {1, 2, 3, 4, 5, 6});
  b.run({&x, 1});
  EXPECT_EQ(numbers(b.gradients().get(0).dense()), (Numbers{5, 7, 9}));
}

TEST(GradientRecording, LongUnrollings) {
  ThreadTeam team;
  Variables vars;
  const Variable w = vars.add("w", {4, 4}, test::filled(0.1));
  const Spec spec{{2, 4}, DType::float32};
  GradientRecording step(
      [&](In in) {
        Value h = in[0];
        for (int t = 0; t < 2000; ++t) h = tanh(matmul(h, w) + in[0]);
        return Values{reduce_mean(h)};
      },
      {&spec, 1}, vars, team);
  const Tensor x = test::draw(spec, 1);
  step.run({&x, 1});
  EXPECT_TRUE(std::isfinite(step.loss()));
  EXPECT_GT(step.recording().instruction_count(), 10000u);
}

}  // namespace
}  // namespace rein
