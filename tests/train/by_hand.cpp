#include "train/by_hand.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace rein::matrix {

Batch batch(const WrapperRow& wrapper, int step, int part) {
  const auto stream = static_cast<uint64_t>(10 * step + 3 * part);
  const double size = std::array{1.0, 0.3, 3.0, 0.5, 2.0}[static_cast<size_t>(step) % 5];
  auto x = noise(12, 100 + stream), y = noise(8, 101 + stream);
  for (double& v : x) v *= size;
  for (double& v : y) v *= size;
  if (step == wrapper.bad_step) x[5] = std::nan("");
  return {tensor({4, 3}, x, DType::float32), tensor({4, 2}, y, DType::float32),
          Tensor::of<int64_t>({4}, {step % 5, (step + part) % 5, step % 5, (step + 3) % 5})};
}

Batch Batch::example(int64_t i) const {
  return {x.piece(3 * i, {1, 3}), y.piece(2 * i, {1, 2}), ids.piece(i, {1})};
}

ModelFunction cost(const Cell& cell, const SmallModel& m) {
  if (!cell.per_example()) return model_function(m.cost());
  return model_function([&m](Value x, Value y, Value ids) {
    return reduce_sum(square(matmul(x, m.w) + m.b - y), {.axes = {1}}) * 0.5 +
           reduce_sum(square(gather(m.e, ids)), {.axes = {1}}) * 4.0;
  });
}

ByHand::ByHand(const Cell& cell) : cell_(cell) {
  if (cell.loss_scale()) loss_scale_ = cell.loss_scale()->initial;
  if (cell.loss_scale() || cell.rollback()) process_ = chain(CheckFinite{}, cell.process());
  process_state_ = process_.init(model_.vars);
  rule_state_ = rule_.init(model_.vars);
  Packed process;
  process_state_.pack(process);
  keep(process);
}

Course ByHand::run() {
  Course course;
  for (int t = 0; t < kSteps; ++t) {
    step(t);
    course.push_back(model_.weights());
  }
  return course;
}

void ByHand::step(int t) {
  const int of_rank = cell_.wrapper.micro_batches, parts = of_rank * cell_.wrapper.ranks;
  Gradients all(model_.vars);
  StepInfo info{.step = t + 1};
  double loss = 0;
  for (int first = 0; first < parts; first += of_rank) {
    Gradients sum(model_.vars);
    for (int part = first; part < first + of_rank; ++part) {
      const Batch b = batch(cell_.wrapper, t, part);
      Gradients gradients(model_.vars);
      loss += compute(b, gradients);
      if (cell_.wrapper.options.sharpness) uphill(b, gradients);
      sum.add(gradients);
    }
    all.add(sum);
  }
  all.scale = 1 / loss_scale_ / parts;
  if (cell_.per_example()) {
    all.scale /= 4;
    add_noise(all, *cell_.per_example(), info.step);
  }
  info.finite = std::isfinite(loss);
  Packed before;
  process_state_.pack(before);
  process_.update(all, process_state_, model_.vars, info);
  if (cell_.rollback() && info.skip) go_back();
  if (cell_.rollback() && !info.skip && healthy_++ % cell_.rollback()->every == 0) keep(before);
  const bool applied = apply_updates(model_.vars, all, rule_, rule_state_, info, team_);
  if (applied) process_.remember(process_state_);
  if (!cell_.loss_scale()) return;
  ASSERT_TRUE(info.finite);
  if (++fine_ % cell_.loss_scale()->growth_interval == 0) loss_scale_ *= 2;
}

// What there is, with what the transforms remembered before this step.
void ByHand::keep(Packed process) {
  kept_ = {.process = std::move(process)};
  for (size_t i = 0; i < model_.vars.size(); ++i) kept_.weights.push_back(model_.vars[i].read());
  rule_state_.pack(kept_.rule);
}

void ByHand::go_back() {
  for (size_t i = 0; i < kept_.weights.size(); ++i)
    model_.vars.assign(model_.vars[i], kept_.weights[i]);
  kept_.process.rewind(), kept_.rule.rewind();
  process_state_.unpack(kept_.process), rule_state_.unpack(kept_.rule);
  rule_ = rule_.slowed(cell_.rollback()->rate_factor);
  healthy_ = 0;
}

// Gradients of the loss times its scale; returns the loss.
double ByHand::compute(const Batch& b, Gradients& gradients) {
  return cell_.per_example() ? compute_examples(b, gradients) : compute_one(b, gradients);
}

double ByHand::compute_one(const Batch& b, Gradients& gradients) {
  GradientTape tape;
  const Value inputs[] = {tape.input(b.x), tape.input(b.y), tape.input(b.ids)};
  const Value loss = cost(cell_, model_)(inputs)[0];
  const auto found = tape.gradient(loss * loss_scale_, model_.vars);
  for (size_t i = 0; i < found.size(); ++i) gradients.set(i, found[i]);
  return loss.item();
}

// The sum of the gradients of the examples, each clipped.
double ByHand::compute_examples(const Batch& b, Gradients& gradients) {
  const ClipByGlobalNorm clip{.clip_norm = cell_.per_example()->clip_norm};
  auto norms = clip.init(model_.vars);
  double loss = 0;
  for (int64_t i = 0; i < 4; ++i) {
    Gradients one(model_.vars), clipped(model_.vars);
    loss += compute_one(b.example(i), one);
    StepInfo info;
    clip.update(one, norms, model_.vars, info);
    for (size_t v = 0; v < one.size(); ++v) clipped.set(v, one.get(v));
    gradients.add(clipped);
  }
  gradients.merge_duplicates();
  return loss / 4;
}

void ByHand::uphill(const Batch& b, Gradients& gradients) {
  gradients.scale = 1 / loss_scale_;
  ascent_.climb(model_.vars, gradients, *cell_.wrapper.options.sharpness);
  compute(b, gradients);
  gradients.scale = 1;
  ascent_.descend(model_.vars);
}

}  // namespace rein::matrix
