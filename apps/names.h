// Clips, rules and schedules by the names that command lines and settings files give them, each
// with the fields of its struct as settings: `norm:1,semantics=keras`, `adamw:weight_decay=0.1`.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rein/apply/rule.h"
#include "rein/kernels/precision.h"
#include "rein/process/transform.h"
#include "rein/train/rollback.h"

namespace rein::app {

/// `none`, or the name of a clip and its number, as in `global:5`; several with `+` between them,
/// as in `value:1+global:5`. All of them measure the norm. Throws UsageError with the list of them.
AnyTransform make_clip(std::string_view text, std::string_view option = "clip");
/// Whether one of the clips that `text` names looks at the parameters, and not at gradients alone.
bool clip_reads_parameters(std::string_view text);

/// A rule by its name in lower case, with its own defaults but for the learning rate, which is the
/// initial step of `rprop` and may not follow the step there. Throws UsageError for that, and for
/// an unknown name or setting.
AnyRule make_rule(std::string_view text, const Schedule& learning_rate);
/// What the rule's struct has.
double usual_learning_rate(std::string_view optimizer);
/// Whether `text` gives a setting of that name: `adam:beta1=0.8` gives beta1.
bool names_setting(std::string_view text, std::string_view setting);

/// `constant`, or a schedule from `learning_rate` on over `steps`, unless its settings say
/// otherwise; the first `warmup` of them go up to it. Throws UsageError, and InvalidArgument for
/// settings that make no sense.
Schedule make_schedule(std::string_view text, double learning_rate, int64_t steps,
                       int64_t warmup = 0);

/// `propagate`, `zero`, `skip` or `stop`, as a CheckFinite, with its settings. Throws UsageError.
AnyTransform make_check(std::string_view text);

/// `none`, or `on` with the settings of a Rollback. Throws UsageError.
std::optional<Rollback> make_rollback(std::string_view text);

/// `f32`, `bf16` or `bf16x3`; whether this processor can is not asked.
ProductOptions make_products(std::string_view text);
/// `amx` or `avx512_bf16`.
NarrowUnit make_unit(std::string_view text);
/// Throws UsageError if it cannot.
void check_possible(const ProductOptions& products);

/// All of them, for help texts.
std::string list_of_names();

}  // namespace rein::app
