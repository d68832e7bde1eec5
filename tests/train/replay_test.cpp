// What a replayed step must not do: allocate, or blame the library's lines for the caller's
// mistakes.
#include <gtest/gtest.h>

#include "allocations.h"
#include "rein/rein.h"

namespace rein {
namespace {

// The network of the README, with every piece that is laid out anew in between: a transpose, a
// split, and here a concat that has to copy.
struct Network {
  Variables vars{Seed{1}};
  Variable w_in = vars.add("hidden/weights", {4, 8}, random_normal());
  BasicLSTMCell cell{vars, "rnn", 8, 8};
  Linear out{vars, "out", 16, 3};

  Values cost(Value x, Value y) {
    Value rows = matmul(reshape(transpose(x, {1, 0, 2}), {-1, 4}), w_in);
    auto [outputs, state] = static_rnn(cell, split(rows, 5));
    const Value both = concat(Values{outputs.back(), outputs.front()}, {.axis = 1});
    const Value logits = out(both);
    return {reduce_mean(sparse_softmax_cross_entropy_with_logits(logits, y)), logits};
  }
};

Tensor images(float value) {
  Tensor x({6, 5, 4});
  for (float& v : x.flat<float>()) v = value;
  return x;
}
const Tensor kLabels = Tensor::of<int32_t>({6}, {0, 1, 2, 0, 1, 2});

TEST(Replay, AllocatesNothing) {
  Network network;
  Step step = record([&](Value x, Value y) { return network.cost(x, y); }, network.vars,
                     chain(ClipByGlobalNorm{.clip_norm = 0.1}), Adam{}, {.threads = 1});
  const Tensor x = images(0.5f);
  step(x, kLabels);
  step(x, kLabels);
  const int64_t before = app::allocation_count();
  step(x, kLabels);
  EXPECT_EQ(app::allocation_count(), before);
}

TEST(Replay, AMetricIsACopy) {
  Network network;
  Step step = record([&](Value x, Value y) { return network.cost(x, y); }, network.vars, chain(),
                     Adam{.learning_rate = 0.1}, {.threads = 1});
  const Tensor x = images(0.5f);
  step(x, kLabels);
  const Tensor first = step.metric(0), same = first.clone();
  step(x, kLabels);
  for (size_t i = 0; i < 18; ++i) EXPECT_EQ(first.flat<float>()[i], same.flat<float>()[i]);
  EXPECT_NE(step.metric(0).flat<float>()[0], first.flat<float>()[0]);
}

// The text of the error that `f` throws.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}
#define EXPECT_NAMES_THIS_LINE(text) \
  EXPECT_NE((text).find("replay_test.cpp:" + std::to_string(__LINE__)), std::string::npos) << (text)

TEST(Places, OfOperatorsAndStepsAreTheCallers) {
  GradientTape tape;
  const Value a = tape.input(Tensor({2, 3})), b = tape.input(Tensor({4}));
  // clang-format off: one line each
  EXPECT_NAMES_THIS_LINE(error_of([&] { a + b; }));
  EXPECT_NAMES_THIS_LINE(error_of([&] { a / b; }));
  EXPECT_NAMES_THIS_LINE(error_of([&] { 2.0 * Value(); }));
  Network n;
  Step step = record([&](Value x, Value y) { return n.cost(x, y); }, n.vars, chain(), Adam{});
  step(images(1), kLabels);
  EXPECT_NAMES_THIS_LINE(error_of([&] { step(Tensor({1, 5, 4}), kLabels); }));
  // clang-format on
}

TEST(Places, OfASecondDerivativeThatIsNotThereIsTheCallers) {
  GradientTape tape;
  Network n;
  const Value x = tape.input(Tensor({5, 2, 8}));
  const Value c = tape.input(Tensor({2, 8}));
  const Value y = n.cell.sequence(x, {{c, c}}).last;
  // clang-format off
  EXPECT_NAMES_THIS_LINE(error_of([&] { gradients(reduce_sum(gradients(reduce_sum(y), Values{x})[0]), Values{x}); }));
  // clang-format on
}

TEST(Gradients, OfTwoVariablesNeverShareNumbers) {
  Variables vars;
  const Variable a = vars.add("a", {2}, ones()), b = vars.add("b", {2}, ones());
  GradientTape tape;
  auto g = tape.gradient(reduce_sum(tape.read(a) + b), vars);
  Tensor of_a = g[0].dense();
  of_a.flat<float>()[0] = 7;
  EXPECT_EQ(g[1].dense().flat<float>()[0], 1);
}

TEST(Layers, ThatCannotBeMadeAddNothing) {
  Variables vars;
  vars.add("rnn/bias", {1}, zeros());
  EXPECT_THROW(BasicLSTMCell(vars, "rnn", 4, 8), InvalidArgument);
  EXPECT_THROW(BasicRNNCell(vars, "rnn", 4, 8), InvalidArgument);
  EXPECT_THROW(BasicLSTMCell(vars, "other", -2, 8), InvalidArgument);
  vars.add("out/biases", {1}, zeros());
  EXPECT_THROW(Linear(vars, "out", 4, 8), InvalidArgument);
  EXPECT_EQ(vars.size(), 2u);
}

}  // namespace
}  // namespace rein
