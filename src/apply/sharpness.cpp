#include "rein/apply/sharpness.h"

#include <algorithm>
#include <cmath>

#include "apply/parameter_writer.h"
#include "process/pieces.h"

namespace rein {
namespace {

// Calls f(numbers, offset) for the numbers of all gradients and where their parameters are in the
// block.
template <class T, class F>
void for_each_place(Gradients& gradients, F&& f) {
  for_each_piece<T>(gradients, [&](size_t i, std::span<T> g) {
    const size_t start = gradients.layout().entries[i].offset;
    if (gradients.kind(i) == Gradients::Kind::dense) {
      f(g, start + static_cast<size_t>(g.data() - gradients.dense<T>(i).data()));
      return;
    }
    const auto rows = std::as_const(gradients).sparse(i).indices.template flat<int64_t>();
    const size_t width = rows.empty() ? 0 : g.size() / rows.size();
    for (size_t k = 0; k < rows.size(); ++k)
      f(g.subspan(k * width, width), start + static_cast<size_t>(rows[k]) * width);
  });
}

}  // namespace

Ascent::Ascent(const Variables& variables)
    : own_(variables.layout().size * size_of(variables.dtype())), norms_(variables) {}

void Ascent::climb(Variables& variables, Gradients& gradients, const Sharpness& sharpness) {
  std::copy_n(static_cast<const std::byte*>(variables.block()), own_.size(), own_.data());
  gradients.merge_duplicates();  // each row is moved once
  visit_float(variables.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* const parameters = ParameterWriter::block<T>(variables);
    const T eta = static_cast<T>(sharpness.eta);
    if (sharpness.adaptive)
      for_each_place<T>(gradients, [&](std::span<T> g, size_t offset) {
        for (size_t k = 0; k < g.size(); ++k) g[k] *= std::abs(parameters[offset + k]) + eta;
      });
    norms_.take(gradients);
    const double norm = norms_.global();
    const double factor = sharpness.rho / norm * gradients.scale;
    if (!std::isfinite(norm) || !std::isfinite(factor)) return;
    for_each_place<T>(gradients, [&](std::span<T> g, size_t offset) {
      for (size_t k = 0; k < g.size(); ++k) {
        T& w = parameters[offset + k];
        const double e = factor * static_cast<double>(g[k]);
        w += static_cast<T>(sharpness.adaptive ? e * static_cast<double>(std::abs(w) + eta) : e);
      }
    });
  });
}

void Ascent::descend(Variables& variables) const noexcept { put_back(variables, own_); }

}  // namespace rein
