// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "rein/compute/graph.h"
#include "rein/compute/ops.h"
#include "rein/compute/tape.h"

namespace rein::test {

/// Normal numbers in float64.
inline Tensor normal(Shape shape, uint64_t stream, double stddev = 1) {
  const RandomStream random(Seed{5}, stream);
  Tensor t(shape, DType::float64);
  auto x = t.flat<double>();
  for (size_t i = 0; i < x.size(); ++i) x[i] = stddev * random.normal(i);
  return t;
}

using ScalarFunction = std::function<Value(std::span<const Value> inputs)>;

/// Compares the gradient of `f`, a scalar in float64, with the difference quotient in every element
/// of every input and of every variable. Four points: the quotient is wrong by h^4 = 1e-12 times
/// the fifth derivative, and by rounding errors of 1e-16 / h = 1e-13.
inline void expect_gradients(const ScalarFunction& f, std::vector<Tensor> inputs,
                             Variables* variables = nullptr, double tolerance = 1e-9) {
  constexpr double h = 1e-3;
  auto value = [&] {
    GradientTape tape;
    Values in;
    for (const Tensor& t : inputs) in.push_back(tape.input(t));
    return f(in).item();
  };
  auto expect = [&](const std::string& name, Tensor at, const Tensor& gradient,
                    const std::function<void()>& moved) {
    auto x = at.flat<double>();
    const auto g = gradient.flat<double>();
    ASSERT_EQ(x.size(), g.size()) << name;
    for (size_t i = 0; i < x.size(); ++i) {
      const double x0 = x[i];
      auto y = [&](double by) {
        x[i] = x0 + by;
        moved();
        return value();
      };
      const double quotient = (8 * (y(h) - y(-h)) - (y(2 * h) - y(-2 * h))) / (12 * h);
      y(0);
      EXPECT_NEAR(g[i], quotient, tolerance) << name << ", element " << i;
    }
  };

  GradientTape tape;
  Values in;
  for (const Tensor& t : inputs) in.push_back(tape.input(t.clone()));
  const Value y = f(in);
  const Values d = gradients(y, in);
  for (size_t i = 0; i < in.size(); ++i)
    expect("input " + std::to_string(i), inputs[i], d[i].tensor(), [] {});
  if (!variables) return;
  const auto told = tape.gradient(y, *variables);
  for (size_t i = 0; i < told.size(); ++i) {
    const Variable v = (*variables)[i];
    ASSERT_TRUE(told[i]) << v.name();
    const Tensor at = v.read();
    expect(v.name(), at, told[i].dense(), [&] { variables->assign(v, at); });
  }
}

/// Fails unless both hold the same numbers within `tolerance`.
inline void expect_near(const Tensor& got, const Tensor& want, double tolerance,
                        const std::string& what = "") {
  ASSERT_EQ(to_string(got.spec()), to_string(want.spec())) << what;
  const Tensor a = got.cast(DType::float64), b = want.cast(DType::float64);
  for (size_t i = 0; i < a.flat<double>().size(); ++i)
    EXPECT_NEAR(a.flat<double>()[i], b.flat<double>()[i], tolerance) << what << ", element " << i;
}

/// Runs `call`, which must throw InvalidArgument with all of `parts` in its text.
template <class F>
void expect_error(F&& call, std::initializer_list<std::string_view> parts) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    for (std::string_view part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  }
}

}  // namespace rein::test
