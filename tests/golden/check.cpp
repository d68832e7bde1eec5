// Comparing with what is expected.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "golden.h"

namespace golden {
namespace {

using rein::Gradient;
using rein::Tensor;

std::string text(double x) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.17g", x);
  return buffer;
}

// As the README says of an element.
template <class T>
bool passes(T got, T want, Tolerance t) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want) || (t.rtol == 0 && t.atol == 0))
    return std::memcmp(&got, &want, sizeof(T)) == 0;
  return std::abs(double{got} - double{want}) <= t.atol + t.rtol * std::abs(double{want});
}

template <class T>
std::string first_difference(const Tensor& got, const Tensor& want, const std::vector<char>& looked,
                             Tolerance t) {
  const auto g = got.flat<T>(), w = want.flat<T>();
  for (size_t i = 0; i < g.size(); ++i) {
    if (!looked.empty() && !looked[i]) continue;
    if constexpr (std::is_integral_v<T>) {
      if (g[i] != w[i])
        return "element " + std::to_string(i) + ": got " + std::to_string(g[i]) + ", want " +
               std::to_string(w[i]);
    } else if (!passes(g[i], w[i], t)) {
      return "element " + std::to_string(i) + ": got " + text(double{g[i]}) + ", want " +
             text(double{w[i]}) + ", off by " + text(std::abs(double{g[i]} - double{w[i]})) +
             " where " + text(t.atol + t.rtol * std::abs(double{w[i]})) + " is allowed";
    }
  }
  return "";
}

}  // namespace

std::string difference(const Tensor& got, const Tensor& want, Tolerance t,
                       const std::vector<char>& looked) {
  if (got.spec() != want.spec())
    return "got " + to_string(got.spec()) + ", want " + to_string(want.spec());
  return rein::visit_dtype(got.dtype(), [&](auto zero) {
    return first_difference<decltype(zero)>(got, want, looked, t);
  });
}

std::string indexed(std::string_view what, size_t i) {
  std::string text(what);
  text += '[';
  text += std::to_string(i);
  text += ']';
  return text;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.spec() == b.spec() && std::memcmp(a.data(), b.data(), a.spec().bytes()) == 0;
}

Check::Check(const Case& c)
    : case_(c), tolerance_{number_or(*c.json, "rtol", 0), number_or(*c.json, "atol", 0)} {}

const Json* Check::want(std::string_view name) {
  const Json* found = case_.expect().find(name);
  if (found) compared_.emplace_back(name);
  return found;
}

void Check::that(bool condition, const std::string& otherwise) {
  if (!condition) wrong_.push_back(otherwise);
}

void Check::equal(const std::string& what, const Tensor& got, const Json& want) {
  equal(what, got, want, tolerance_);
}

void Check::equal(const std::string& what, const Tensor& got, const Json& want, Tolerance t) {
  if (want.is_null()) return;
  if (want.is(Json::Kind::array)) {
    const rein::Shape row(got.shape().dims().subspan(1));
    that(static_cast<int64_t>(want.items.size()) == got.shape()[0], what + ": another length");
    for (size_t i = 0; i < want.items.size() && wrong_.empty(); ++i)
      equal(indexed(what, i), got.piece(static_cast<int64_t>(i) * row.size(), row), want.items[i],
            t);
    return;
  }
  std::vector<char> looked;
  for (const auto& item : want.at("data").items) looked.push_back(!item.is_null());
  const std::string found = difference(got, read_expected(want), t, looked);
  that(found.empty(), what + ": " + found);
}

void Check::equal(const std::string& what, const Tensor& got, const Tensor& want) {
  const std::string found = difference(got, want, tolerance_, {});
  that(found.empty(), what + ": " + found);
}

void Check::equal(const std::string& what, double got, const Json& want) {
  if (want.is_null()) return;
  if (want.is(Json::Kind::number) || want.is(Json::Kind::string)) {
    that(passes(got, want.as<double>(), tolerance_),
         what + ": got " + text(got) + ", want " + want.text);
    return;
  }
  // Cases hold a single number as a scalar or as a list of one.
  const Tensor scalar = Tensor::scalar<double>(got);
  const Tensor cast =
      want.at("dtype").string() == "float64" ? scalar : scalar.cast(rein::DType::float32);
  equal(what, cast.reshaped(read_shape(want.at("shape"))), want);
}

void Check::equal(const std::string& what, const Gradient& got, const Json& want) {
  if (want.is_null()) return that(!got, what + ": want an absent gradient");
  if (!got) return that(false, what + ": got an absent gradient");
  if (!want.find("indices")) {
    if (!got.is_dense()) return that(false, what + ": want a dense gradient");
    return equal(what, got.dense(), want);
  }
  if (!got.is_sparse()) return that(false, what + ": want rows");
  const Gradient expected = read_gradient(want);
  const auto g = got.sparse().indices.flat<int64_t>();
  const auto w = expected.sparse().indices.flat<int64_t>();
  that(std::vector<int64_t>(g.begin(), g.end()) == std::vector<int64_t>(w.begin(), w.end()),
       what + ": other indices");
  that(got.shape() == expected.shape(), what + ": got dense shape " + to_string(got.shape()));
  equal(what, got.sparse().values, want.at("values"));
}

void Check::equal(const std::string& what, const std::vector<Gradient>& got, const Json& want) {
  if (got.size() != want.items.size())
    return that(false, what + ": got " + std::to_string(got.size()) + " gradients, want " +
                           std::to_string(want.items.size()));
  for (size_t i = 0; i < got.size(); ++i) equal(indexed(what, i), got[i], want.items[i]);
}

void Check::finish() {
  for (const auto& key : case_.expect().keys) {
    bool found = false;
    for (const auto& name : compared_) found = found || name == key;
    that(found, "expect." + key + " was not compared");
  }
}

}  // namespace golden
