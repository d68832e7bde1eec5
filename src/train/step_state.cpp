// Saving a Step and going on with it.
#include "rein/base/random.h"
#include "train/step_parts.h"

namespace rein {
namespace {

struct Counts {
  int64_t& step;
  double& loss_scale;
  int64_t& fine_steps;
  double& proven_scale;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("step", self.step);
    f("loss_scale", self.loss_scale);
    f("fine_steps", self.fine_steps);
    f("proven_scale", self.proven_scale);
  }
};

}  // namespace

Settings Step::Parts::saved_settings() const {
  Settings all;
  process.describe("process", all);
  rule.describe("rule", all);
  describe("seed", static_cast<int64_t>(options.seed.value), all);
  describe("loss_scale", options.loss_scale, all);
  describe("sharpness", options.sharpness, all);
  describe("rollback", options.rollback, all);
  describe("per_example", options.per_example, all);
  return all;
}

Settings Step::Parts::settings() const {
  Settings all = saved_settings();
  describe("precision", options.products.precision, all);
  // 16 bits of a draw that no noise takes: an error prints them, and they do not give it away.
  if (options.per_example && options.per_example->seed)
    describe(
        "fingerprint of per_example.seed",
        static_cast<int64_t>(
            RandomStream(Seed{*options.per_example->seed}, stream_of("fingerprint")).bits(0) >> 48),
        all);
  return all;
}

void Step::Parts::save(StateDict& out, Unlisted unlisted) {
  process_state.save("process", out, unlisted);
  rule_state.save("rule", out, unlisted);
  save_fields("", Counts{step, loss_scale, fine_steps, proven_scale}, out);
  if (keeper) keeper->save("rollback", process_state, rule_state, out);
}

StateDict Step::state(Where where) const {
  Parts& p = *parts_;
  p.need_own_parameters("Step::state", where);
  if (p.gathered > 0)
    throw InvalidArgument("Step::state", "micro-batches are waiting for their step; save after it",
                          where);
  return placed("Step::state", where, [&] {
    StateDict out;
    save_parameters("parameters", p.variables, out);
    p.save(out, Unlisted::refuse);
    save_settings(p.saved_settings(), out);
    return out;
  });
}

void Step::load_state(const StateDict& saved, SavedSettings mode, Where where) {
  Parts& p = *parts_;
  p.need_own_parameters("Step::load_state", where);
  if (p.gathered > 0)
    throw InvalidArgument("Step::load_state",
                          "micro-batches are waiting for their step; load after it", where);
  if (p.variables.size() != p.variable_count) p.make_states(where);
  const Settings settings = p.saved_settings();
  StateReader reader(saved);
  const auto pass = [&] {
    if (p.keeper) p.keeper->load("rollback", p.process_state, p.rule_state, reader);
    load_parameters("parameters", p.variables, reader);
    p.process_state.load("process", reader);
    p.rule_state.load("rule", reader);
    Counts counts{p.step, p.loss_scale, p.fine_steps, p.proven_scale};
    load_fields("", counts, reader);
    load_settings(settings, mode, reader);
  };
  placed("Step::load_state", where, pass);
  reader.check("Step::load_state", where);
  pass();
  if (p.ranks) p.ranks->forget();
}

}  // namespace rein
