// Rows of logits [..., classes], for the ops over them.
#pragma once

#include "compute/ops/rules.h"

namespace rein {

inline int64_t classes(const Spec& logits) { return logits.shape.back(); }
inline int64_t rows(const Spec& logits) { return logits.size() / classes(logits); }

inline void require_logits(const Spec& logits) {
  require_floating(logits);
  require(logits.shape.rank() > 0 && classes(logits) > 0, "logits need at least one class");
}

/// [..., classes] -> [..., 1], or without the last axis.
inline Value sum_of_rows(const Value& x, bool keepdims) {
  return reduce_sum(x, {.axes = {-1}, .keepdims = keepdims});
}

}  // namespace rein
