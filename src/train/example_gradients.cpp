#include "train/example_gradients.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "compute/example_gradients.h"
#include "compute/example_map.h"
#include "process/l2.h"
#include "process/measured.h"
#include "train/clip_examples.h"

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
                                   Variables& variables, ThreadTeam& team,
                                   const RecordingOptions& options, const PerExample& settings,
                                   Where where)
    : batch_(batch.begin(), batch.end()),
      settings_(settings),
      variables_(variables),
      team_(team),
      inputs_(batch.size()) {
  const size_t before = variables.size();
  one_example_ = trace(losses, of_one_example(batch, where), options, where);
  check_losses(*one_example_, where);
  norms_.resize(static_cast<size_t>(batch[0].shape[0]));
  if (settings.one_by_one)
    why_loop_ = "per_example.one_by_one is set";
  else if (norms_.size() == 1)
    why_loop_ = "a batch is one example";
  else if (variables.size() != before)
    why_loop_ = "the cost makes variables";
  else
    record_together(losses, options, where);
  if (together_)
    metrics_.clear();
  else
    loop_.emplace(*std::exchange(one_example_, std::nullopt), variables, team, where);
}

// Says where results are not one an example; makes room for the metrics.
void ExampleGradients::check_losses(const Recorded& one_example, Where where) {
  const Values& out = one_example.outputs;
  for (size_t i = 0; i < out.size(); ++i) {
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
}

// Or says why not.
void ExampleGradients::record_together(const ModelFunction& losses, const RecordingOptions& options,
                                       Where where) {
  std::vector<Spec> one_more = batch_;
  for (Spec& spec : one_more) ++spec.shape[0];
  std::optional<Recorded> all, more;
  try {
    all = trace(losses, batch_, options, where, true);
    more = trace(losses, one_more, options, where, true);
  } catch (const InvalidArgument& e) {
    why_loop_ = fmt::format("the cost does not take batches of other sizes: {}", e.what());
    return;
  }
  const auto clip = [&](const Values& norms, std::span<const size_t> of) {
    ClippedNorms clipped = clip_examples(norms, limits_of(of));
    return ExampleFactors{std::move(clipped.factors), {clipped.least, clipped.norms}};
  };
  try {
    together_.emplace(
        trace_example_gradients(*std::move(all), *std::move(more), variables_, clip, where),
        variables_, team_, where);
  } catch (const ExamplesMixed& e) {
    why_loop_ = e.what();
  }
}

// Of these variables, or one of all together.
std::vector<double> ExampleGradients::limits_of(std::span<const size_t> variables) const {
  std::vector<int64_t> sizes;
  for (const size_t i : variables) sizes.push_back(variables_[i].size());
  return rein::limits_of(settings_.limits, settings_.clip_norm, sizes);
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
    const Spec& spec = loop_->one.recording().input_spec(k);
    inputs_[k] = inputs[k].piece(i * spec.size(), spec.shape);
  }
  return inputs_;
}

void ExampleGradients::run(std::span<const Tensor> inputs, uint64_t draw, Where where) {
  check_inputs(inputs, where);
  losses_ = {};
  clipped_ = 0;
  if (together_)
    run_together(inputs, draw, where);
  else
    run_loop(inputs, draw, where);
  const auto n = static_cast<double>(norms_.size());
  gradients().merge_duplicates();
  gradients().scale = 1 / (settings_.batch_size > 0 ? settings_.batch_size : n);
}

void ExampleGradients::run_together(std::span<const Tensor> inputs, uint64_t draw, Where where) {
  together_->run(inputs, draw, where);
  const size_t last = together_->metric_count();
  const Tensor factors = together_->metric(last - 2), norms = together_->metric(last - 1);
  for (const double factor : factors.flat<double>()) clipped_ += factor < 1;
  std::ranges::copy(norms.flat<double>(), norms_.begin());
  const Tensor losses = together_->recording().output(0);
  visit_float(losses.dtype(), [&](auto zero) {
    const auto of = losses.flat<decltype(zero)>();
    for (size_t i = 0; i < norms_.size(); ++i) losses_.add(of[i], norms_[i]);
  });
}

void ExampleGradients::run_loop(std::span<const Tensor> inputs, uint64_t draw, Where where) {
  GradientRecording& one = loop_->one;
  Gradients& sum = loop_->sum;
  for (size_t i = 0; i < sum.size(); ++i) sum.set_kind(i, Gradients::Kind::absent);
  for (size_t i = 0; i < norms_.size(); ++i) {
    one.run(example(inputs, static_cast<int64_t>(i)), draw + (uint64_t{i} << 32), where);
    for (size_t k = 0; k < metrics_.size(); ++k) {
      const Tensor metric = one.metric(k);
      const size_t bytes = metric.spec().bytes();
      if (bytes > 0)
        std::memcpy(static_cast<std::byte*>(metrics_[k].data()) + i * bytes, metric.data(), bytes);
    }
    loop_->norms_of_one.take(one.gradients());
    norms_[i] = loop_->norms_of_one.global();
    losses_.add(one.loss(), norms_[i]);
    add(norms_[i]);
  }
}

// Adds the gradient of one example, clipped. One that is left out adds 0: whether the gradient of a
// variable is absent depends on the model alone.
void ExampleGradients::add(double norm) {
  Gradients& g = loop_->one.gradients();
  std::vector<size_t>& there = loop_->with_gradient;
  if (there.empty()) {
    for (size_t i = 0; i < g.size(); ++i)
      if (g.kind(i) != Gradients::Kind::absent) there.push_back(i);
    loop_->limits = limits_of(there);
  }
  const std::vector<double>& limits = loop_->limits;
  const bool left_out = !std::isfinite(norm);
  double least = left_out ? 0 : 1;
  for (size_t k = 0; k < there.size(); ++k) {
    const double own = limits.size() == 1 ? norm : loop_->norms_of_one.of_variable[there[k]];
    double& factor = loop_->factors[there[k]];
    factor = left_out ? 0 : scale_to(own, limits[limits.size() == 1 ? 0 : k]);
    least = std::min(least, factor);
  }
  if (least < 1) {
    ++clipped_;
    visit_float(g.dtype(), [&](auto zero) {
      using T = decltype(zero);
      for_each_piece<T>(g, [&](size_t i, std::span<T> x) {
        if (left_out)
          std::ranges::fill(x, T{0});
        else if (loop_->factors[i] != 1)
          kernels::scale_into(x.data(), loop_->factors[i], x.data(), x.size());
      });
    });
  }
  loop_->sum.add(g);
}

std::optional<NonFiniteOrigin> ExampleGradients::find_non_finite(std::span<const Tensor> inputs,
                                                                 uint64_t draw, Where where) {
  check_inputs(inputs, where);
  if (!loop_) loop_.emplace(*std::exchange(one_example_, std::nullopt), variables_, team_, where);
  for (size_t i = 0; i < norms_.size(); ++i) {
    auto found = loop_->one.find_non_finite(example(inputs, static_cast<int64_t>(i)),
                                            draw + (uint64_t{i} << 32), where);
    if (!found) continue;
    found->place.example = static_cast<int64_t>(i);
    return found;
  }
  return std::nullopt;
}

}  // namespace rein
