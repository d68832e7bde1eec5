// The tape: what is computed while it records, and the gradients it tells.
#include "rein/compute/tape.h"

#include <cmath>
#include <thread>

#include "compute/support.h"

namespace rein {
namespace {

using test::error_of;
using test::Numbers;
using test::numbers;

TEST(Tape, ComputesWhileItRecords) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<float>({2}, {3, 4}));
  EXPECT_EQ(reduce_sum(x * x).item(), 25);
}

TEST(Tape, AValueUsedTwiceGetsBothGradients) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({2}, {3, 4}));
  const Value y = x * x + 5.0 * x;  // three uses
  EXPECT_EQ(numbers(gradients(y, {&x, 1})[0].tensor()), (Numbers{11, 13}));
}

TEST(Tape, TheGradientOfAValueWithRespectToItselfIsOne) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<float>({3}, {1, 2, 3}));
  EXPECT_EQ(numbers(gradients(x, {&x, 1})[0].tensor()), (Numbers{1, 1, 1}));
}

TEST(Tape, GradientsReachIntermediateValues) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({2}, {3, 4}));
  const Value y = x * x;
  const Value z = y * y;
  const Value xs[] = {x, y, z};
  const Values d = gradients(z, xs);
  EXPECT_EQ(numbers(d[0].tensor()), (Numbers{108, 256}));  // 4 x^3
  EXPECT_EQ(numbers(d[1].tensor()), (Numbers{18, 32}));    // 2 y
  EXPECT_EQ(numbers(d[2].tensor()), (Numbers{1, 1}));
}

TEST(Tape, WhatTheLossDoesNotDependOnIsAbsent) {
  GradientTape tape;
  Variables vars;
  const Variable used = vars.add("used", {2}, test::filled(1));
  const Variable not_used = vars.add("not used", {3}, test::filled(1));
  const Variable stopped = vars.add("stopped", {2}, test::filled(1));
  const Variable later = vars.add("later", {2}, test::filled(1));
  const Value x = tape.input(Tensor::of<float>({2}, {3, 4}));
  const Value loss = reduce_sum(mul(x, used) * stop_gradient(tape.read(stopped)));
  const Value after = loss * reduce_sum(tape.read(later));
  const auto d = tape.gradient(loss, vars);
  ASSERT_EQ(d.size(), 4u);
  EXPECT_EQ(numbers(d[0].dense()), (Numbers{3, 4}));
  EXPECT_FALSE(d[not_used.index]);
  EXPECT_FALSE(d[2]);
  EXPECT_FALSE(d[3]);
  EXPECT_TRUE(tape.gradient(after, vars)[3]);
  // The function on values gives zeros instead, as tf.gradients with unconnected zeros.
  const Value none = tape.read(not_used);
  EXPECT_EQ(numbers(gradients(loss, {&none, 1})[0].tensor()), (Numbers{0, 0, 0}));
}

TEST(Tape, IntegersHaveNoGradient) {
  GradientTape tape;
  const Value i = tape.input(Tensor::of<int32_t>({2}, {1, 2}));
  const Value y = reduce_sum(square(cast(i, DType::float32)));
  EXPECT_EQ(numbers(gradients(y, {&i, 1})[0].tensor()), (Numbers{0, 0}));
  EXPECT_FALSE(tape.graph().gradients(y, {&i, 1})[0]);
  EXPECT_EQ(error_of([&] {
              tape.graph().gradients(i, {&i, 1});
            }),
            "gradients: the loss is int32 [2]");
}

TEST(Tape, GradientsAreOfTheSumOfTheLoss) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({2, 2}, {1, 2, 3, 4}));
  EXPECT_EQ(numbers(gradients(reduce_sum(x, {.axes = {0}}), {&x, 1})[0].tensor()),
            (Numbers{1, 1, 1, 1}));
}

TEST(Tape, HigherDerivatives) {
  GradientTape tape;
  const double at = 0.7;
  const Value x = tape.input(Tensor::scalar(at));
  Value y = exp(2.0 * x);
  for (int order = 1; order <= 4; ++order) {
    y = gradients(y, {&x, 1})[0];
    EXPECT_NEAR(y.item(), std::pow(2, order) * std::exp(2 * at), 1e-12) << order;
  }
  // Of a cube, the fourth derivative is 0.
  Value z = x * x * x;
  const double want[] = {3 * at * at, 6 * at, 6, 0};
  for (double w : want) {
    z = gradients(z, {&x, 1})[0];
    EXPECT_NEAR(z.item(), w, 1e-12);
  }
}

TEST(Tape, AGradientCanBePartOfALoss) {
  GradientTape tape;  // d/dx (x^2 (d x^3/dx)^2) = d/dx 9 x^6
  const Value x = tape.input(Tensor::scalar(1.5));
  const Value g = gradients(x * x * x, {&x, 1})[0];
  EXPECT_NEAR(gradients(x * x * g * g, {&x, 1})[0].item(), 54 * std::pow(1.5, 5), 1e-10);
}

struct Rounded {
  static constexpr std::string_view name = "test_rounded";
  static constexpr std::string_view no_gradient = "it has steps";
  bool operator==(const Rounded&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  void forward(const Run&, Ins in, Outs out) const {
    for (int64_t i = 0; i < in[0].size(); ++i)
      out[0].as<float>()[i] = std::round(in[0].as<float>()[i]);
  }
};

TEST(Tape, StopsAtAnOpWithoutGradient) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<float>({2}, {3, 4}));
  const int line = __LINE__ + 1;
  const Value y = reduce_sum(apply(Rounded{}, {x}, Where::here()));
  EXPECT_EQ(error_of([&] {
              gradients(y, {&x, 1});
            }),
            "test_rounded: has no gradient: it has steps");
  EXPECT_TRUE(test::names_place([&] { gradients(y, {&x, 1}); }, __FILE__, line));
  // Not if the gradient does not have to pass it, and the tape goes on.
  EXPECT_EQ(numbers(gradients(reduce_sum(x) * stop_gradient(y), {&x, 1})[0].tensor()),
            (Numbers{7, 7}));
}

TEST(Tape, ValuesOfTwoTapesDoNotMix) {
  GradientTape a, b;
  const Value x = a.input(Tensor({2})), y = b.input(Tensor({2}));
  EXPECT_EQ(error_of([&] { x + y; }), "add: the operands belong to different tapes");
  EXPECT_EQ(error_of([&] {
              gradients(x, {&y, 1});
            }),
            "gradients: a value to differentiate by belongs to another tape or none");
  EXPECT_EQ(error_of([&] {
              b.graph().gradients(x, {&y, 1});
            }),
            "gradients: the loss belongs to another tape or none");
  EXPECT_EQ(error_of([&] { x + Value(); }), "add: an operand is an empty Value, of no tape");
  EXPECT_EQ(error_of([&] {
              gradients(Value(), {&x, 1});
            }),
            "gradients: the loss belongs to no graph");
  EXPECT_EQ(error_of([&] { Value().tensor(); }), "Value::tensor: the value belongs to no graph");
  const Value none;
  EXPECT_EQ(error_of([&] {
              gradients(x, {&none, 1});
            }),
            "gradients: a value to differentiate by belongs to another tape or none");
}

TEST(Tape, OperandsNeedOneWithATape) {
  EXPECT_EQ(error_of([] { add(1.0, Tensor({2})); }),
            "add: no operand belongs to a tape or a recording; pass tensors through tape.input "
            "and variables through tape.read");
}

TEST(Tape, NumbersTakeTheTypeBesideThem) {
  GradientTape tape;
  const Value f = tape.input(Tensor::of<float>({1}, {1})),
              d = tape.input(Tensor::of<double>({1}, {1}));
  EXPECT_EQ((f + 0.1).dtype(), DType::float32);
  EXPECT_EQ((d + 0.1).dtype(), DType::float64);
  EXPECT_EQ((0.1 * d).item(), 0.1);
  EXPECT_EQ((0.1 * f).item(), static_cast<double>(0.1f));
  EXPECT_EQ(where(f, 0.5, Tensor::of<float>({1}, {3})).dtype(), DType::float32);
}

TEST(Tape, StaysAsItWasWhenVariablesChange) {
  GradientTape tape;
  Variables vars;
  const Variable w = vars.add("w", {2}, test::counting());
  const Value loss = reduce_sum(square(tape.read(w)));
  vars.assign(w, Tensor::of<float>({2}, {100, 100}));
  vars.add("much", {100000}, test::filled(0));  // moves the block
  EXPECT_EQ(loss.item(), 5);
  EXPECT_EQ(numbers(tape.gradient(loss, vars)[0].dense()), (Numbers{2, 4}));
  EXPECT_EQ(numbers(tape.read(w).tensor()), (Numbers{1, 2}));  // read once
  GradientTape later;
  EXPECT_EQ(numbers(later.read(w).tensor()), (Numbers{100, 100}));
}

TEST(Tape, AVariableIsOneValue) {
  GradientTape tape;
  Variables vars;
  const Variable w = vars.add("w", {2}, test::counting()), v = vars.add("v", {2}, test::counting());
  EXPECT_EQ(tape.read(w), tape.read(w));
  EXPECT_NE(tape.read(w), tape.read(v));
  EXPECT_EQ(tape.graph().variables(), (std::vector<Variable>{w, v}));
  const Value x = tape.input(Tensor::of<float>({2}, {1, 1}));
  EXPECT_EQ(numbers(tape.gradient(reduce_sum(mul(x, w) + mul(w, x)), vars)[0].dense()),
            (Numbers{2, 2}));
}

TEST(Tape, ListsOfVariablesKeepTheirOrder) {
  GradientTape tape;
  Variables vars;
  const Variable a = vars.add("a", {1}, test::filled(2)), b = vars.add("b", {1}, test::filled(3));
  const Value loss = tape.read(a) * tape.read(b);
  const Variable list[] = {b, a};
  for (const auto& d : {tape.gradient(loss, list), compute_gradients(loss, list)}) {
    EXPECT_EQ(numbers(d[0].dense()), (Numbers{2}));
    EXPECT_EQ(numbers(d[1].dense()), (Numbers{3}));
  }
}

TEST(Tape, TheSameGradientAgain) {
  GradientTape tape;
  Variables vars;
  const Variable w = vars.add("w", {3}, test::counting());
  const Value loss = reduce_sum(exp(tape.read(w)));
  const auto first = tape.gradient(loss, vars), second = tape.gradient(loss, vars);
  EXPECT_EQ(numbers(first[w.index].dense()), numbers(second[w.index].dense()));
}

struct RowsOfTape : testing::Test {
  GradientTape tape;
  Variables vars;
  Variable table = vars.add("table", {4, 2}, test::counting());
  Tensor indices = Tensor::of<int64_t>({3}, {2, 0, 2});
};

TEST_F(RowsOfTape, OneGatherGivesRows) {
  const Value loss = reduce_sum(square(gather(tape.read(table), tape.input(indices))));
  const Gradient d = tape.gradient(loss, vars)[0];
  ASSERT_TRUE(d.is_sparse());
  EXPECT_EQ(numbers(d.sparse().indices), (Numbers{2, 0, 2}));
  EXPECT_EQ(numbers(d.sparse().values), (Numbers{10, 12, 2, 4, 10, 12}));
  EXPECT_EQ(d.shape(), (Shape{4, 2}));
}

TEST_F(RowsOfTape, SeveralGathersGiveAllRows) {
  // indices of both types, and of another shape
  const Value a = gather(tape.read(table), tape.input(indices));
  const Value b = gather(tape.read(table), tape.input(Tensor::of<int32_t>({1, 2}, {3, 2})));
  const Gradient d = tape.gradient(reduce_sum(a) + 2.0 * reduce_sum(b), vars)[0];
  ASSERT_TRUE(d.is_sparse());
  EXPECT_EQ(d.sparse().indices.dtype(), DType::int64);
  EXPECT_EQ(numbers(to_dense(d.sparse())), (Numbers{1, 1, 0, 0, 4, 4, 2, 2}));
}

TEST_F(RowsOfTape, Int32IndicesGiveInt64Rows) {
  const Value loss = reduce_sum(gather(tape.read(table), tape.input(indices.cast(DType::int32))));
  const Gradient d = tape.gradient(loss, vars)[0];
  EXPECT_EQ(d.sparse().indices.dtype(), DType::int64);
  EXPECT_EQ(numbers(merge_duplicates(d.sparse()).values), (Numbers{1, 1, 2, 2}));
}

TEST_F(RowsOfTape, RowsAndDenseAreDense) {
  const Value w = tape.read(table);
  const Value loss = reduce_sum(gather(w, tape.input(indices))) + reduce_sum(3.0 * w);
  const Gradient d = tape.gradient(loss, vars)[0];
  ASSERT_TRUE(d.is_dense());
  EXPECT_EQ(numbers(d.dense()), (Numbers{4, 4, 3, 3, 5, 5, 3, 3}));
}

TEST_F(RowsOfTape, RowsOfAnIntermediateValueFlowOn) {
  const Value loss = reduce_sum(gather(square(tape.read(table)), tape.input(indices)));
  const Gradient d = tape.gradient(loss, vars)[0];
  ASSERT_TRUE(d.is_dense());
  EXPECT_EQ(numbers(d.dense()), (Numbers{2, 4, 0, 0, 20, 24, 0, 0}));
}

TEST_F(RowsOfTape, SecondDerivativesThroughRows) {
  const Value w = tape.read(table);
  const Value y = gather(w, tape.input(indices));
  const Value g = gradients(reduce_sum(y * y * y), {&w, 1})[0];  // dense: 3 w^2 n
  EXPECT_EQ(numbers(g.tensor()), (Numbers{3, 12, 0, 0, 150, 216, 0, 0}));
  const Gradient d = tape.gradient(reduce_sum(g), vars)[0];  // 6 w n
  EXPECT_EQ(numbers(d.is_sparse() ? to_dense(d.sparse()) : d.dense()),
            (Numbers{6, 12, 0, 0, 60, 72, 0, 0}));
}

TEST(Tape, PiecesOfASplitWithoutGradientCountAsZero) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({6}, {1, 2, 3, 4, 5, 6}));
  const Values p = split(x, 3);
  EXPECT_EQ(numbers(gradients(square(p[1]), {&x, 1})[0].tensor()), (Numbers{0, 0, 6, 8, 0, 0}));
  EXPECT_EQ(numbers(gradients(square(p[2]), {&x, 1})[0].tensor()), (Numbers{0, 0, 0, 0, 10, 12}));
}

TEST(Tape, RandomOpsDrawByStep) {
  const auto draws = [](Seed seed, uint64_t step) {
    GradientTape tape({.seed = seed, .step = step});
    return numbers(dropout(tape.input(test::draw({{50}, DType::float32}, 1)), 0.5).tensor());
  };
  EXPECT_EQ(draws(Seed{1}, 1), draws(Seed{1}, 1));
  EXPECT_NE(draws(Seed{1}, 1), draws(Seed{1}, 2));
  EXPECT_NE(draws(Seed{1}, 1), draws(Seed{2}, 1));
}

TEST(Tape, TwoInTwoThreads) {
  const auto work = [](double& result) {
    GradientTape tape;
    const Value x = tape.input(Tensor::scalar(0.5));
    Value y = x;
    for (int i = 0; i < 2000; ++i) y = y * 1.001 + x;
    result = gradients(y, {&x, 1})[0].item();
  };
  double a = 0, b = 0;
  std::thread other([&] { work(a); });
  work(b);
  other.join();
  EXPECT_EQ(a, b);
  EXPECT_GT(a, 2000);
}

}  // namespace
}  // namespace rein
