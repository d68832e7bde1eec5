// Family schedule: learning rates by step. The library has none yet: all are skipped by name.
#include "golden.h"

namespace golden {

Family schedule_family() { return {}; }

}  // namespace golden
