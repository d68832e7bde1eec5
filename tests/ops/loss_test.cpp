// What the battery does not see: values against their formulas, and errors.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "rein/compute/ops.h"
#include "rein/compute/tape.h"

namespace rein {
namespace {

void expect_error(const std::function<void()>& call,
                  std::initializer_list<std::string_view> parts) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    for (std::string_view part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  }
}

TEST(LossOps, TakeTheLastAxisAndKeepTheOthers) {
  GradientTape tape;
  const Value x = tape.input(Tensor::of<double>({2, 1, 2}, {1, 3, -2, 0.5}));
  const Value p = softmax(x), log_p = log_softmax(x);
  EXPECT_EQ(p.shape(), x.shape());
  EXPECT_EQ(log_p.shape(), x.shape());
  const Value z = tape.input(Tensor::of<double>({2, 1, 2}, {0.25, 0.75, 1, 0}));
  const Value dense = softmax_cross_entropy_with_logits(z, x);
  const Value sparse =
      sparse_softmax_cross_entropy_with_logits(x, tape.input(Tensor::of<int32_t>({2, 1}, {1, 0})));
  EXPECT_EQ(dense.shape(), (Shape{2, 1}));
  EXPECT_EQ(sparse.shape(), (Shape{2, 1}));
  // Of two classes: softmax is the sigmoid of the difference.
  auto log_sigmoid = [](double d) { return -std::log1p(std::exp(-d)); };
  const double first = log_sigmoid(-2), second = log_sigmoid(2), third = log_sigmoid(-2.5);
  EXPECT_NEAR(log_p.tensor().flat<double>()[0], first, 1e-15);
  EXPECT_NEAR(p.tensor().flat<double>()[1], std::exp(second), 1e-15);
  EXPECT_NEAR(dense.tensor().flat<double>()[0], -0.25 * first - 0.75 * second, 1e-15);
  EXPECT_NEAR(dense.tensor().flat<double>()[1], -third, 1e-15);
  EXPECT_NEAR(sparse.tensor().flat<double>()[0], -second, 1e-15);
  EXPECT_NEAR(sparse.tensor().flat<double>()[1], -third, 1e-15);
}

TEST(LossOps, OfNoRowsAreEmpty) {
  GradientTape tape;
  const Value x = tape.input(Tensor({0, 3}));
  EXPECT_EQ(softmax(x).tensor().size(), 0);
  EXPECT_EQ(sparse_softmax_cross_entropy_with_logits(x, Tensor({0}, DType::int32)).shape(),
            (Shape{0}));
}

TEST(LossOps, WrongArgumentsThrow) {
  GradientTape tape;
  const Value x = tape.input(Tensor({2, 3})), wide = tape.input(Tensor({2, 4})),
              number = tape.input(Tensor(Shape{})),
              whole = tape.input(Tensor({2, 3}, DType::int32)), none = tape.input(Tensor({2, 0})),
              exact = tape.input(Tensor({2, 3}, DType::float64)),
              labels = tape.input(Tensor({2}, DType::int64)),
              three = tape.input(Tensor({3}, DType::int64));
  for (auto f : {softmax, log_softmax}) {
    expect_error([&] { f(number, Where::here()); }, {"softmax", "at least one class", "[]"});
    expect_error([&] { f(none, Where::here()); }, {"softmax", "at least one class", "[2, 0]"});
    expect_error([&] { f(whole, Where::here()); },
                 {"softmax", "float32 or float64", "int32 [2, 3]", "loss_test.cpp"});
  }
  expect_error([&] { softmax_cross_entropy_with_logits(wide, x); },
               {"softmax_cross_entropy_with_logits", "same shape", "[2, 4]", "[2, 3]"});
  expect_error([&] { softmax_cross_entropy_with_logits(exact, x); },
               {"softmax_cross_entropy_with_logits", "dtypes", "float64 [2, 3]"});
  expect_error([&] { sparse_softmax_cross_entropy_with_logits(x, three); },
               {"sparse_softmax_cross_entropy_with_logits", "without its last axis", "[3]"});
  expect_error([&] { sparse_softmax_cross_entropy_with_logits(x, x); },
               {"sparse_softmax_cross_entropy_with_logits", "int32 or int64"});
  expect_error([&] { sparse_softmax_cross_entropy_with_logits(labels, x); },
               {"sparse_softmax_cross_entropy_with_logits", "int64 [2]", "float32 [2, 3]"});
  for (auto f : {sigmoid_cross_entropy_with_logits, squared_error, absolute_error}) {
    expect_error([&] { f(wide, x, Where::here()); }, {"same shape", "[2, 4]", "[2, 3]"});
    expect_error([&] { f(exact, x, Where::here()); }, {"dtypes", "float64 [2, 3]"});
    expect_error([&] { f(whole, whole, Where::here()); }, {"float32 or float64", "int32 [2, 3]"});
  }
}

}  // namespace
}  // namespace rein
