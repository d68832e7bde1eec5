// What the families share: cases, the reading of their values, and the comparison with what is
// expected. README.md describes the files.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"
#include "rein/kernels/precision.h"
#include "rein/tensor/gradient.h"

namespace golden {

/// Thrown for a case that needs something that is not built; the reason is printed.
struct Skip : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// `what[i]`
std::string indexed(std::string_view what, size_t i);

using Names = std::vector<std::string_view>;

/// Throws Skip if `object` has a member that is not among `known`: `what` says what members are.
void only(const Json& object, const Names& known, std::string_view what);

// ---------------------------------------------------------------- values of a file

rein::Shape read_shape(const Json& json);
/// A tensor object; of a dtype that the library has not, throws Skip.
rein::Tensor read_tensor(const Json& json);
/// The same of an expectation: an element that is null is read as 0.
rein::Tensor read_expected(const Json& json);
/// A tensor, null (absent), or rows.
rein::Gradient read_gradient(const Json& json);
std::vector<rein::Gradient> read_gradients(const Json& list);

/// A setting that may be absent or null.
double number_or(const Json& settings, std::string_view name, double otherwise);
bool flag_or(const Json& settings, std::string_view name, bool otherwise);
std::string text_or(const Json& settings, std::string_view name, std::string_view otherwise);
/// Throws Skip unless the setting is absent, null, false or 0.
void unset(const Json& settings, const Names& names);

// ---------------------------------------------------------------- a case

struct Case {
  const Json* json = nullptr;
  std::string name, semantics, op;
  rein::ProductOptions products{};  // what networks are trained with

  explicit Case(const Json& object);
  const Json& attrs() const { return json->at("attrs"); }
  const Json& expect() const { return json->at("expect"); }
  const Json& at(std::string_view input) const { return json->at(input); }
  const Json* find(std::string_view input) const { return json->find(input); }
};

struct Tolerance {
  double rtol = 0, atol = 0;
};

/// Where `got` differs from `want`; empty if nowhere. An element passes if |got - want| <=
/// atol + rtol |want|; NaN matches NaN, infinities match by sign. With both tolerances 0 the bits
/// must be equal. Elements whose `looked` is 0 are not looked at; no list looks at all.
std::string difference(const rein::Tensor& got, const rein::Tensor& want, Tolerance tolerance,
                       const std::vector<char>& looked);

/// Whether two tensors are the same, to the bit.
bool same_bits(const rein::Tensor& a, const rein::Tensor& b);

/// Collects what is wrong with a case.
class Check {
 public:
  explicit Check(const Case& c);

  /// The expectation of this name, which then counts as compared; or nothing.
  const Json* want(std::string_view name);

  /// `want` is a tensor or a list of those along axis 0. A null where a tensor could be is not
  /// looked at.
  void equal(const std::string& what, const rein::Tensor& got, const Json& want);
  void equal(const std::string& what, const rein::Tensor& got, const Json& want, Tolerance t);
  void equal(const std::string& what, const rein::Tensor& got, const rein::Tensor& want);
  /// The same for a number, which takes the dtype of `want`.
  void equal(const std::string& what, double got, const Json& want);
  /// Null must be absent, rows must be rows with the same indices.
  void equal(const std::string& what, const rein::Gradient& got, const Json& want);
  void equal(const std::string& what, const std::vector<rein::Gradient>& got, const Json& want);
  void that(bool condition, const std::string& otherwise);

  /// Makes the tolerances of what is compared from now on so many times wider.
  void widen(double times) { tolerance_.rtol *= times, tolerance_.atol *= times; }

  /// Names what nobody has compared.
  void finish();
  const std::vector<std::string>& wrong() const { return wrong_; }

 private:
  const Case& case_;
  Tolerance tolerance_;
  std::vector<std::string> compared_;
  std::vector<std::string> wrong_;
};

// ---------------------------------------------------------------- families

/// How the cases of one op are run, and the names of everything in them that is understood; a case
/// that has any other is skipped.
struct Handler {
  std::string_view op, semantics;
  Names attrs, inputs, expect;
  void (*run)(const Case& c, Check& check);
};
using Family = std::vector<Handler>;

Family clip_family();
Family optimizer_family();
Family cell_family();
Family network_family();
Family loss_family();
Family schedule_family();

}  // namespace golden
