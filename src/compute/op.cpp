#include "rein/compute/op.h"

#include <fmt/format.h>

#include "rein/compute/graph.h"

namespace rein {
namespace {
// The records link themselves while the program starts and never change after; this is the only
// list of ops there is.
constinit OpRecord* head = nullptr;
}  // namespace

OpRecord* OpRecord::link(OpRecord* record) {
  record->next = head;
  return head = record;
}

const OpRecord* first_op() { return head; }

InvalidArgument rule_error(std::string_view op, std::string_view what, Specs got, Where where) {
  std::string specs;
  for (const Spec& s : got) specs += (specs.empty() ? "" : " and ") + to_string(s);
  return {op, fmt::format("{}, got {}", what, specs), where};
}

Values detail::apply(const OpRecord& record, std::shared_ptr<const void> op,
                     std::span<const Operand> operands, Where where) {
  return add(record, std::move(op), Operand::resolve(record.name, operands, where), where);
}

Values detail::add(const OpRecord& record, std::shared_ptr<const void> op, Values in, Where where) {
  Graph& graph = in[0].graph();
  return graph.add(record, std::move(op), std::move(in), where);
}

}  // namespace rein
