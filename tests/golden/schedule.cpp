// Family schedule: learning rates by step.
#include "golden.h"
#include "rein/apply/schedules.h"

namespace golden {
namespace {

using rein::Schedule;
using rein::Tensor;

double number(const Json& attrs, std::string_view name) { return attrs.at(name).as<double>(); }

template <class T>
std::vector<T> numbers(const Json& list) {
  std::vector<T> all;
  for (const Json& item : list.items) all.push_back(item.as<T>());
  return all;
}

Tensor values_at(const Case& c, const Schedule& schedule) {
  std::vector<double> values;
  for (const Json& step : c.at("steps").items) values.push_back(schedule.at(step.as<int64_t>()));
  return Tensor::copy_of<double>({static_cast<int64_t>(values.size())}, values);
}

void compare(Check& check, std::string_view name, const Tensor& got) {
  if (const Json* want = check.want(name))
    check.equal(std::string(name), got.cast(read_tensor(*want).dtype()), *want);
}

// ---------------------------------------------------------------- TensorFlow and Keras
// Keras calls learning_rate initial_learning_rate.

template <class S>
Schedule exponential(const Json& a, double initial) {
  return S{.initial = initial,
           .decay_steps = number(a, "decay_steps"),
           .decay_rate = number(a, "decay_rate"),
           .staircase = flag_or(a, "staircase", false)};
}

Schedule polynomial(const Json& a, double initial) {
  return rein::PolynomialDecay{.initial = initial,
                               .decay_steps = number(a, "decay_steps"),
                               .end = number_or(a, "end_learning_rate", 1e-4),
                               .power = number_or(a, "power", 1),
                               .cycle = flag_or(a, "cycle", false)};
}

Schedule cosine(const Json& a, double initial) {
  const double warmup_target = number_or(a, "warmup_target", -1);
  const bool warms = warmup_target >= 0;
  const Schedule fall = rein::CosineDecay{.initial = warms ? warmup_target : initial,
                                          .decay_steps = number(a, "decay_steps"),
                                          .alpha = number_or(a, "alpha", 0)};
  if (!warms) return fall;
  return rein::Warmup{.steps = a.at("warmup_steps").as<int64_t>(), .from = initial, .then = fall};
}

Schedule cosine_restarts(const Json& a, double initial) {
  return rein::CosineRestarts{.initial = initial,
                              .first_decay_steps = number(a, "first_decay_steps"),
                              .t_mul = number_or(a, "t_mul", 2),
                              .m_mul = number_or(a, "m_mul", 1),
                              .alpha = number_or(a, "alpha", 0)};
}

Schedule linear_cosine(const Json& a, double initial) {
  return rein::LinearCosineDecay{.initial = initial,
                                 .decay_steps = number(a, "decay_steps"),
                                 .num_periods = number_or(a, "num_periods", 0.5),
                                 .alpha = number_or(a, "alpha", 0),
                                 .beta = number_or(a, "beta", 0.001)};
}

using Reader = Schedule (*)(const Json& attrs, double initial);
template <Reader read>
void run_tensorflow(const Case& c, Check& check) {
  compare(check, "values", values_at(c, read(c.attrs(), number(c.attrs(), "learning_rate"))));
}
template <Reader read>
void run_keras(const Case& c, Check& check) {
  compare(check, "values",
          values_at(c, read(c.attrs(), number(c.attrs(), "initial_learning_rate"))));
}

void run_piecewise(const Case& c, Check& check) {
  compare(check, "values",
          values_at(
              c, rein::PiecewiseConstant{.boundaries = numbers<int64_t>(c.attrs().at("boundaries")),
                                         .values = numbers<double>(c.attrs().at("values"))}));
}

// ---------------------------------------------------------------- PyTorch

Schedule step_lr(const Json& a, double lr) {
  return rein::ExponentialDecay{.initial = lr,
                                .decay_steps = number(a, "step_size"),
                                .decay_rate = number_or(a, "gamma", 0.1),
                                .staircase = true};
}

Schedule multi_step_lr(const Json& a, double lr) {
  return rein::MultiStepDecay{.initial = lr,
                              .milestones = numbers<int64_t>(a.at("milestones")),
                              .factor = number_or(a, "gamma", 0.1)};
}

Schedule exponential_lr(const Json& a, double lr) {
  return rein::ExponentialDecay{.initial = lr, .decay_steps = 1, .decay_rate = number(a, "gamma")};
}

Schedule cosine_annealing_lr(const Json& a, double lr) {
  return rein::CosineDecay{.initial = lr,
                           .decay_steps = number(a, "T_max"),
                           .alpha = number_or(a, "eta_min", 0) / lr,
                           .periodic = true};
}

Schedule cosine_annealing_warm_restarts(const Json& a, double lr) {
  return rein::CosineRestarts{.initial = lr,
                              .first_decay_steps = number(a, "T_0"),
                              .t_mul = number_or(a, "T_mult", 1),
                              .m_mul = 1,
                              .alpha = number_or(a, "eta_min", 0) / lr};
}

Schedule linear_lr(const Json& a, double lr) {
  return rein::PolynomialDecay{.initial = lr * number_or(a, "start_factor", 1.0 / 3),
                               .decay_steps = number_or(a, "total_iters", 5),
                               .end = lr * number_or(a, "end_factor", 1),
                               .power = 1};
}

Schedule polynomial_lr(const Json& a, double lr) {
  return rein::PolynomialDecay{.initial = lr,
                               .decay_steps = number_or(a, "total_iters", 5),
                               .end = 0,
                               .power = number_or(a, "power", 1)};
}

template <Reader read>
void run_pytorch(const Case& c, Check& check) {
  compare(check, "values", values_at(c, read(c.attrs(), number(c.attrs(), "lr"))));
}

void run_one_cycle(const Case& c, Check& check) {
  const Json& a = c.attrs();
  const auto total_steps = a.at("total_steps").as<int64_t>();
  const double rise = number_or(a, "pct_start", 0.3);
  const auto anneal =
      text_or(a, "anneal_strategy", "cos") == "cos" ? rein::Anneal::cosine : rein::Anneal::linear;
  const bool three_phase = flag_or(a, "three_phase", false);
  compare(check, "values",
          values_at(c, rein::OneCycle{.max = number(a, "max_lr"),
                                      .total_steps = total_steps,
                                      .rise_fraction = rise,
                                      .anneal = anneal,
                                      .div_factor = number_or(a, "div_factor", 25),
                                      .final_div_factor = number_or(a, "final_div_factor", 1e4),
                                      .three_phase = three_phase}));
  compare(check, "momentum",
          values_at(c, rein::OneCycleMomentum{.base = number_or(a, "base_momentum", 0.85),
                                              .max = number_or(a, "max_momentum", 0.95),
                                              .total_steps = total_steps,
                                              .rise_fraction = rise,
                                              .anneal = anneal,
                                              .three_phase = three_phase}));
}

void run_plateau(const Case& c, Check& check) {
  const Json& a = c.attrs();
  rein::ReduceOnPlateau plateau{{.initial = number(a, "lr"),
                                 .factor = number_or(a, "factor", 0.1),
                                 .patience = static_cast<int64_t>(number_or(a, "patience", 10)),
                                 .threshold = number_or(a, "threshold", 1e-4),
                                 .relative = text_or(a, "threshold_mode", "rel") == "rel",
                                 .higher_is_better = text_or(a, "mode", "min") == "max",
                                 .cooldown = static_cast<int64_t>(number_or(a, "cooldown", 0)),
                                 .minimum = number_or(a, "min_lr", 0)}};
  const Schedule rate = plateau;  // as a rule holds it
  std::vector<double> values;
  for (const Json& metric : c.at("metrics").items) {
    plateau.feed(metric.as<double>());
    values.push_back(rate.at(0));
  }
  compare(check, "values", Tensor::copy_of<double>({static_cast<int64_t>(values.size())}, values));
}

Handler handler(std::string_view op, std::string_view semantics, Names attrs,
                void (*run)(const Case&, Check&)) {
  attrs.push_back(semantics == "tensorflow" ? "learning_rate"
                  : semantics == "keras"    ? "initial_learning_rate"
                                            : "lr");
  return {op, semantics, std::move(attrs), {"steps", "metrics"}, {"values", "momentum"}, run};
}

}  // namespace

Family schedule_family() {
  using rein::ExponentialDecay, rein::InverseTimeDecay, rein::NaturalExpDecay;
  const Names decay{"decay_steps", "decay_rate", "staircase"};
  const Names polynomials{"decay_steps", "end_learning_rate", "power", "cycle"};
  const Names restarts{"first_decay_steps", "t_mul", "m_mul", "alpha"};
  const Names pieces{"boundaries", "values"};
  return {
      handler("exponential_decay", "tensorflow", decay,
              run_tensorflow<exponential<ExponentialDecay>>),
      handler("natural_exp_decay", "tensorflow", decay,
              run_tensorflow<exponential<NaturalExpDecay>>),
      handler("inverse_time_decay", "tensorflow", decay,
              run_tensorflow<exponential<InverseTimeDecay>>),
      handler("polynomial_decay", "tensorflow", polynomials, run_tensorflow<polynomial>),
      handler("piecewise_constant", "tensorflow", pieces, run_piecewise),
      handler("cosine_decay", "tensorflow", {"decay_steps", "alpha"}, run_tensorflow<cosine>),
      handler("cosine_decay_restarts", "tensorflow", restarts, run_tensorflow<cosine_restarts>),
      handler("linear_cosine_decay", "tensorflow", {"decay_steps", "num_periods", "alpha", "beta"},
              run_tensorflow<linear_cosine>),
      handler("ExponentialDecay", "keras", decay, run_keras<exponential<ExponentialDecay>>),
      handler("InverseTimeDecay", "keras", decay, run_keras<exponential<InverseTimeDecay>>),
      handler("PolynomialDecay", "keras", polynomials, run_keras<polynomial>),
      handler("PiecewiseConstantDecay", "keras", pieces, run_piecewise),
      handler("CosineDecay", "keras", {"decay_steps", "alpha", "warmup_target", "warmup_steps"},
              run_keras<cosine>),
      handler("CosineDecayRestarts", "keras", restarts, run_keras<cosine_restarts>),
      handler("StepLR", "pytorch", {"step_size", "gamma"}, run_pytorch<step_lr>),
      handler("MultiStepLR", "pytorch", {"milestones", "gamma"}, run_pytorch<multi_step_lr>),
      handler("ExponentialLR", "pytorch", {"gamma"}, run_pytorch<exponential_lr>),
      handler("CosineAnnealingLR", "pytorch", {"T_max", "eta_min"},
              run_pytorch<cosine_annealing_lr>),
      handler("CosineAnnealingWarmRestarts", "pytorch", {"T_0", "T_mult", "eta_min"},
              run_pytorch<cosine_annealing_warm_restarts>),
      handler("LinearLR", "pytorch", {"start_factor", "end_factor", "total_iters"},
              run_pytorch<linear_lr>),
      handler("PolynomialLR", "pytorch", {"total_iters", "power"}, run_pytorch<polynomial_lr>),
      handler("OneCycleLR", "pytorch",
              {"max_lr", "total_steps", "pct_start", "anneal_strategy", "three_phase",
               "cycle_momentum", "base_momentum", "max_momentum", "div_factor", "final_div_factor"},
              run_one_cycle),
      handler("ReduceLROnPlateau", "pytorch",
              {"mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr"},
              run_plateau),
  };
}

}  // namespace golden
