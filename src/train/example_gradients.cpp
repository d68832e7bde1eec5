#include "train/example_gradients.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "process/l2.h"
#include "process/measured.h"

namespace rein {
namespace {

std::vector<Spec> of_one_example(std::span<const Spec> batch, Where where) {
  std::vector<Spec> one(batch.begin(), batch.end());
  for (Spec& spec : one) {
    if (spec.shape.rank() == 0 || spec.shape[0] == 0 || spec.shape[0] != batch[0].shape[0])
      throw InvalidArgument("record",
                            fmt::format("with per_example axis 0 of every input is the example, "
                                        "got {} and {}",
                                        to_string(batch[0]), to_string(spec)),
                            where);
    spec.shape[0] = 1;
  }
  return one;
}

}  // namespace

ExampleGradients::ExampleGradients(const ModelFunction& losses, std::span<const Spec> batch,
                                   Variables& variables, ThreadTeam& team, Seed seed,
                                   const PerExample& settings, Where where)
    : batch_(batch.begin(), batch.end()),
      settings_(settings),
      one_(checked(losses, where), of_one_example(batch, where), variables, team, seed, where),
      norms_of_one_(variables),
      sum_(variables),
      inputs_(batch.size()),
      norms_(static_cast<size_t>(batch[0].shape[0])) {}

// The function, which says where its results are not one an example; makes room for the metrics.
ModelFunction ExampleGradients::checked(const ModelFunction& losses, Where where) {
  return [this, &losses, where](std::span<const Value> in) {
    const Values out = losses(in);
    for (size_t i = 0; i < out.size(); ++i) {
      if (!out[i].defined()) continue;  // the recording complains
      Spec spec = out[i].spec();
      if (spec.shape.rank() == 0 || spec.shape[0] != 1 || (i == 0 && spec.shape.rank() != 1))
        throw InvalidArgument(
            "record",
            fmt::format("with per_example the cost returns one loss an example, [batch], and "
                        "metrics [batch, ...]; result {} of one example is {}",
                        i, to_string(spec)),
            where);
      spec.shape[0] = batch_[0].shape[0];
      if (i > 0) metrics_.emplace_back(spec);
    }
    return out;
  };
}

void ExampleGradients::check_inputs(std::span<const Tensor> inputs, Where where) const {
  if (inputs.size() != batch_.size())
    throw InvalidArgument(
        "Step", fmt::format("{} inputs, recorded with {}", inputs.size(), batch_.size()), where);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].spec() != batch_[i])
      throw InvalidArgument("Step",
                            fmt::format("input {} is {}, recorded with {}; make batches equal", i,
                                        to_string(inputs[i].spec()), to_string(batch_[i])),
                            where);
}

std::span<const Tensor> ExampleGradients::example(std::span<const Tensor> inputs, int64_t i) {
  for (size_t k = 0; k < inputs.size(); ++k) {
    const Spec& spec = one_.recording().input_spec(k);
    inputs_[k] = inputs[k].piece(i * spec.size(), spec.shape);
  }
  return inputs_;
}

void ExampleGradients::run(std::span<const Tensor> inputs, uint64_t draw, Where where) {
  check_inputs(inputs, where);
  loss_ = 0;
  clipped_ = 0;
  for (size_t i = 0; i < sum_.size(); ++i) sum_.set_kind(i, Gradients::Kind::absent);
  const auto n = static_cast<double>(norms_.size());
  for (size_t i = 0; i < norms_.size(); ++i) {
    one_.run(example(inputs, static_cast<int64_t>(i)), draw + (uint64_t{i} << 32), where);
    loss_ += one_.loss() / n;
    for (size_t k = 0; k < metrics_.size(); ++k) {
      const Tensor metric = one_.metric(k);
      const size_t bytes = metric.spec().bytes();
      if (bytes > 0)
        std::memcpy(static_cast<std::byte*>(metrics_[k].data()) + i * bytes, metric.data(), bytes);
    }
    norms_of_one_.take(one_.gradients());
    norms_[i] = norms_of_one_.global();
    add(norms_[i]);
  }
  sum_.merge_duplicates();
  sum_.scale = 1 / (settings_.batch_size > 0 ? settings_.batch_size : n);
}

// Adds the gradient of one example, clipped. One that is left out adds 0: whether the gradient of a
// variable is absent depends on the model alone.
void ExampleGradients::add(double norm) {
  Gradients& g = one_.gradients();
  const bool left_out = !std::isfinite(norm);
  const double factor = scale_to(norm, settings_.clip_norm);
  if (left_out || factor < 1) {
    ++clipped_;
    visit_float(g.dtype(), [&](auto zero) {
      using T = decltype(zero);
      for_each_piece<T>(g, [&](size_t, std::span<T> x) {
        if (left_out)
          std::ranges::fill(x, T{0});
        else
          kernels::scale_into(x.data(), factor, x.data(), x.size());
      });
    });
  }
  sum_.add(g);
}

std::optional<NonFiniteOrigin> ExampleGradients::find_non_finite(std::span<const Tensor> inputs,
                                                                 uint64_t draw, Where where) {
  check_inputs(inputs, where);
  for (size_t i = 0; i < norms_.size(); ++i) {
    auto found = one_.find_non_finite(example(inputs, static_cast<int64_t>(i)),
                                      draw + (uint64_t{i} << 32), where);
    if (!found) continue;
    found->place.example = static_cast<int64_t>(i);
    return found;
  }
  return std::nullopt;
}

}  // namespace rein
