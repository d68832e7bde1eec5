// What the graph makes of rules: errors, views, joins.
#include <algorithm>
#include <set>

#include "compute/support.h"

namespace rein {
namespace {

using test::error_of;
using test::Numbers;
using test::numbers;

struct Careless {
  static constexpr std::string_view name = "test_careless";
  bool operator==(const Careless&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  void forward(const Run&, Ins in, Outs out) const {
    std::copy_n(in[0].as<float>(), in[0].size(), out[0].as<float>());
  }
  Cotangents vjp(const Backward& b) const { return {b.dy()}; }  // of two arguments
};

TEST(Graph, ARuleAnswersForEveryArgument) {
  GradientTape tape;
  const Value x = tape.input(Tensor({2}));
  const Value y = apply(Careless{}, {x, x}, Where::here());
  EXPECT_EQ(error_of([&] {
              gradients(y, {&x, 1});
            }),
            "test_careless: its gradient rule gives 1 cotangents for 2 arguments");
}

enum class Mistake : uint8_t { shape, product };
struct Mistaken {
  static constexpr std::string_view name = "test_mistaken";
  Mistake mistake;
  bool operator==(const Mistaken&) const = default;
  Spec infer(Specs in) const { return in[0]; }
  void forward(const Run& run, Ins in, Outs out) const { Careless{}.forward(run, in, out); }
  static constexpr int kProductLine = __LINE__ + 3;
  Cotangents vjp(const Backward& b) const {
    if (mistake == Mistake::shape) return {reduce_sum(b.dy())};
    return {matmul(b.dy(), b.dy())};
  }
};

// Not the op below it, whose own rule is made of `mul` and `div`.
TEST(Graph, AMistakenRuleIsNamed) {
  GradientTape tape;
  const Value x = tape.input(Tensor({2, 3}));
  const auto error = [&](Mistake mistake) {
    const Value y = apply(Mistaken{mistake}, {sqrt(x)}, {"model.cpp", 12});
    try {
      gradients(y, {&x, 1});
    } catch (const InvalidArgument& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(error(Mistake::shape),
            "test_mistaken: its gradient rule gives float32 [] for argument 0, which is float32 "
            "[2, 3] (model.cpp:12)");
  const std::string product = error(Mistake::product);
  EXPECT_TRUE(product.starts_with("gradient of test_mistaken: matmul: ")) << product;
  EXPECT_TRUE(product.ends_with("graph_test.cpp:" + std::to_string(Mistaken::kProductLine) +
                                ") (model.cpp:12)"))
      << product;
}

TEST(Graph, RecordsOfAllOps) {
  std::set<std::string> names;
  for (const OpRecord* op = first_op(); op; op = op->next) {
    EXPECT_TRUE(names.insert(std::string(op->name)).second) << op->name << " twice";
    EXPECT_NE(op->vjp == nullptr, op->no_gradient.empty()) << op->name;
  }
  EXPECT_TRUE(names.contains("reduce_sum"));
}

// Names of the ops that `outputs` take, in a recording and in order.
struct Ops {
  size_t instructions = 0;
  std::vector<std::string> all;
};
Ops ops_of(const ModelFunction& function, const Spec& input) {
  ThreadTeam team;
  const Recording r = record_forward(function, {&input, 1}, team);
  Ops ops{r.instruction_count(), {}};
  for (const auto& node : r.graph().nodes())
    if (node.op) ops.all.emplace_back(node.op->name);
  return ops;
}
using In = std::span<const Value>;

TEST(Joins, WhatWasSplitIsPutTogetherForFree) {
  const Spec rows{{12, 5}, DType::float32};
  const auto free_of_work = [&](std::function<Value(Value)> f) {
    const Ops ops = ops_of([&](In in) { return Values{f(in[0])}; }, rows);
    EXPECT_EQ(std::ranges::count(ops.all, "concat"), 0);
    return ops.instructions == 0;
  };
  EXPECT_TRUE(free_of_work([](Value x) { return concat(split(x, 4)); }));
  EXPECT_TRUE(free_of_work([](Value x) { return reshape(concat(split(x, 4)), {4, 3, 5}); }));
  EXPECT_TRUE(free_of_work([](Value x) { return stack(split(x, 4)); }));
  EXPECT_TRUE(free_of_work([](Value x) { return stack(unstack(x)); }));
  EXPECT_TRUE(free_of_work([](Value x) { return stack(unstack(reshape(x, {3, 4, 5}))); }));
  EXPECT_TRUE(free_of_work([](Value x) { return concat(split(x, {5, 1, 6})); }));
  EXPECT_TRUE(free_of_work([](Value x) {
    const Values p = split(x, 4);
    return concat(Values{p[1], p[2]});  // neighbours
  }));
  // Along another axis the pieces are copies, but then nobody needs them.
  EXPECT_TRUE(free_of_work([](Value x) { return concat(split(x, 5, {.axis = 1}), {.axis = 1}); }));
  EXPECT_TRUE(free_of_work([](Value x) { return stack(unstack(x, {.axis = 1}), {.axis = 1}); }));
}

TEST(Joins, GiveTheRightNumbers) {
  GradientTape tape;
  const Value x = tape.input(test::draw({{12, 5}, DType::float32}, 1));
  const auto* data = x.tensor().data();
  EXPECT_EQ(concat(split(x, 4)).tensor().data(), data);
  EXPECT_EQ(stack(split(x, 4)).shape(), (Shape{4, 3, 5}));
  EXPECT_EQ(stack(split(x, 4)).tensor().data(), data);
  const Values p = split(x, 4);
  EXPECT_EQ(concat(Values{p[1], p[2]}).tensor().data(), p[1].tensor().data());
  EXPECT_EQ(concat(Values{p[1], p[2]}).shape(), (Shape{6, 5}));
  const Value again = concat(split(x, 5, {.axis = 1}), {.axis = 1});
  EXPECT_EQ(numbers(again.tensor()), numbers(x.tensor()));
}

TEST(Joins, CopyWhatOnlyLooksLikeThem) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<float>({2, 2}, {1, 2, 3, 4}));
  const Values rows = split(x, 2), columns = split(x, 2, {.axis = 1});
  // another order, a piece twice, one left out, another axis, pieces of two splits
  EXPECT_EQ(numbers(concat(Values{rows[1], rows[0]}).tensor()), (Numbers{3, 4, 1, 2}));
  EXPECT_EQ(numbers(concat(Values{rows[0], rows[0]}).tensor()), (Numbers{1, 2, 1, 2}));
  EXPECT_EQ(numbers(concat(rows, {.axis = 1}).tensor()), (Numbers{1, 2, 3, 4}));
  EXPECT_EQ(concat(rows, {.axis = 1}).shape(), (Shape{1, 4}));
  EXPECT_EQ(numbers(concat(columns).tensor()), (Numbers{1, 3, 2, 4}));
  EXPECT_EQ(numbers(stack(columns).tensor()), (Numbers{1, 3, 2, 4}));
  EXPECT_EQ(numbers(concat(Values{rows[0], split(x, 2)[1]}).tensor()), (Numbers{1, 2, 3, 4}));
  const Values three = split(tape.input(Tensor::of<float>({3}, {1, 2, 3})), 3);
  EXPECT_EQ(numbers(concat(Values{three[0], three[2]}).tensor()), (Numbers{1, 3}));
  // Reshaped pieces of columns are not what they were.
  const Value turned = concat(Values{reshape(columns[0], {1, 2}), reshape(columns[1], {1, 2})});
  EXPECT_EQ(numbers(turned.tensor()), (Numbers{1, 3, 2, 4}));
}

TEST(Joins, GradientsStillReachThePieces) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({4}, {1, 2, 3, 4}));
  const Values p = split(x, 2);
  const Value y = square(concat(p));
  const Value xs[] = {x, p[0], p[1]};
  const Values d = gradients(y, xs);
  EXPECT_EQ(numbers(d[0].tensor()), (Numbers{2, 4, 6, 8}));
  EXPECT_EQ(numbers(d[1].tensor()), (Numbers{2, 4}));
  EXPECT_EQ(numbers(d[2].tensor()), (Numbers{6, 8}));
}

TEST(Joins, AListThroughAModelCopiesNothingButItsWork) {
  // What a static unrolling over a fused op is: a list, put together, worked on, cut again.
  const Spec rows{{12, 5}, DType::float32};
  const auto model = [](In in) {
    const Value work = tanh(stack(split(in[0], 4)));
    return Values{unstack(work).back()};
  };
  EXPECT_EQ(ops_of(model, rows).instructions, 1u);
  const Ops both =
      ops_of([&](In in) { return Values{gradients(reduce_sum(model(in)[0]), in)[0]}; }, rows);
  // tanh, its gradient (some ops), and one concat that sets the only piece into zeros
  EXPECT_EQ(std::ranges::count(both.all, "concat"), 1);
  EXPECT_EQ(std::ranges::count(both.all, "pad"), 0);
}

TEST(Joins, TheGradientOfAListIsPutTogetherOnce) {
  const Spec rows{{12, 5}, DType::float32};
  const Ops ops = ops_of(
      [](In in) {
        Values pieces = split(in[0], 4);
        for (Value& p : pieces) p = tanh(p);
        return Values{gradients(reduce_sum(concat(pieces)), in)[0]};
      },
      rows);
  EXPECT_EQ(std::ranges::count(ops.all, "concat"), 2);  // forward, and of the gradient
}

TEST(Views, SpanWhatTheyNeedAlone) {
  // The piece of another axis that a join is made of must not be computed for it.
  GradientTape tape;
  const Value x = tape.input(test::draw({{3, 4}, DType::float32}, 1));
  const Values p = split(x, 2, {.axis = 1});
  const Value y = concat(p, {.axis = 1});
  const Tensor d = gradients(square(y), {&x, 1})[0].tensor();
  EXPECT_EQ(numbers(d), numbers((2.0 * x).tensor()));
}

}  // namespace
}  // namespace rein
