#include "compute/plan.h"

#include <algorithm>
#include <functional>

namespace rein {

Recording::Plan::Plan(std::unique_ptr<Graph> g, Values in, Values out, ThreadTeam& t)
    : graph(std::move(g)), inputs(std::move(in)), outputs(std::move(out)), team(t) {
  const auto& nodes = graph->nodes();
  const auto needed = find_needed();
  places.resize(nodes.size());
  for (size_t id = 0; id < nodes.size(); ++id) {
    if (!needed[id]) continue;
    const Graph::Node& node = nodes[id];
    if (node.op)
      add_instruction(id, node);
    else
      add_source(id, node);
  }
  for (const Value& v : outputs) use(v, instructions.size());  // alive at the end
  for (const Value& v : inputs) use(v, 0);
}

std::vector<char> Recording::Plan::find_needed() const {
  const auto& nodes = graph->nodes();
  std::vector<char> needed(nodes.size(), 0);
  for (const Value& v : outputs) needed[v.node()] = 1;
  for (size_t id = nodes.size(); id-- > 0;)
    if (needed[id])
      for (const Value& v : graph->read_by(nodes[id])) needed[v.node()] = 1;
  for (const Value& v : inputs) needed[v.node()] = 1;
  return needed;
}

size_t Recording::Plan::new_block(const Block& block) {
  blocks.push_back(block);
  return blocks.size() - 1;
}

void Recording::Plan::use(const Value& v, size_t instruction) {
  Block& b = blocks[place(v).block];
  b.first = std::min(b.first, instruction);
  b.last = std::max(b.last, instruction);
}

void Recording::Plan::add_source(size_t id, const Graph::Node& node) {
  Block block;
  block.bytes = node.out[0].bytes();
  if (node.is_input) {
    block.kind = Block::Kind::input;
    block.first = 0;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].node() == id) block.source = i;
  } else {
    block.kind = node.variable ? Block::Kind::parameter : Block::Kind::constant;
    block.source = id;
  }
  places[id] = {{new_block(block), 0}};
  if (node.variable) parameters.emplace_back(places[id][0].block, node.variable->store);
}

void Recording::Plan::add_instruction(size_t id, const Graph::Node& node) {
  std::vector<Spec> specs;
  for (const Value& v : node.in) specs.push_back(v.spec());
  const void* op = node.attributes.get();
  if (const auto offsets = node.op->views(op, specs); !offsets.empty()) {
    const Place whole = place(node.in[0]);
    for (int64_t offset : offsets)
      places[id].push_back(
          {whole.block, whole.offset + static_cast<size_t>(offset) * size_of(specs[0].dtype)});
    return;
  }
  const size_t number = instructions.size();
  instructions.push_back({.op = node.op,
                          .attributes = op,
                          .node = id,
                          .in = ins.size(),
                          .in_count = node.in.size(),
                          .out = outs.size(),
                          .out_count = node.out.size()});
  scratch_bytes = std::max(scratch_bytes, node.op->scratch(op, specs));
  for (const Spec& spec : node.out) {
    Block block;
    block.bytes = spec.bytes();
    block.first = number;
    block.last = number;
    places[id].push_back({new_block(block), 0});
    out_places.push_back(places[id].back());
    outs.push_back({&spec, nullptr});
  }
  for (const Value& v : node.in) {
    use(v, number);
    in_places.push_back(place(v));
    ins.push_back({&v.spec(), nullptr});
  }
}

// The block whose memory the first result of an instruction may have: that of an argument which
// nobody reads afterwards.
size_t Recording::Plan::argument_to_take(size_t number) const {
  const Instruction& i = instructions[number];
  const auto home_of = [&](const Place& p) {
    const size_t home = blocks[p.block].home;
    return home == kNone ? p.block : home;
  };
  const Block& result = blocks[out_places[i.out].block];
  if (result.kind != Block::Kind::arena) return kNone;
  for (size_t a = 0; a < i.in_count; ++a) {
    if (!i.op->may_overwrite(i.attributes, a)) continue;
    const Place& p = in_places[i.in + a];
    const size_t home = home_of(p);
    const bool whole = p.offset == 0 && blocks[p.block].bytes == result.bytes &&
                       blocks[home].bytes == result.bytes;
    const bool dies = blocks[home].kind == Block::Kind::arena && blocks[home].last == number;
    const auto readers =
        std::count_if(in_places.begin() + static_cast<std::ptrdiff_t>(i.in),
                      in_places.begin() + static_cast<std::ptrdiff_t>(i.in + i.in_count),
                      [&](const Place& other) { return home_of(other) == home; });
    if (whole && dies && readers == 1) return home;
  }
  return kNone;
}

void Recording::Plan::take_over_arguments() {
  for (size_t number = 0; number < instructions.size(); ++number) {
    const size_t home = argument_to_take(number);
    if (home == kNone) continue;
    Block& result = blocks[out_places[instructions[number].out].block];
    result.home = home;
    blocks[home].last = std::max(blocks[home].last, result.last);
  }
}

// Largest first, each at the lowest offset that is free while it lives.
void Recording::Plan::lay_out_arena() {
  take_over_arguments();
  std::vector<size_t> order;
  for (size_t i = 0; i < blocks.size(); ++i)
    if ((blocks[i].kind == Block::Kind::arena && blocks[i].home == kNone) ||
        blocks[i].kind == Block::Kind::input)
      order.push_back(i);
  std::ranges::stable_sort(order, std::greater{}, [&](size_t i) { return blocks[i].bytes; });
  struct Placed {
    size_t offset, end, first, last;
  };
  std::vector<Placed> placed;  // by rising offset
  arena_bytes = 0;
  for (size_t i : order) {
    Block& b = blocks[i];
    b.offset = 0;
    for (const Placed& p : placed) {
      if (b.offset + b.bytes <= p.offset) break;
      if (p.first <= b.last && b.first <= p.last)
        b.offset = std::max(b.offset, round_up(p.end, Buffer::kAlignment));
    }
    const Placed here{b.offset, b.offset + b.bytes, b.first, b.last};
    placed.insert(std::ranges::upper_bound(placed, b.offset, {}, &Placed::offset), here);
    arena_bytes = std::max(arena_bytes, round_up(here.end, Buffer::kAlignment));
  }
}

void Recording::Plan::bind() {
  if (!bound) {
    lay_out_arena();  // pinned blocks have left it
    arena = Buffer(arena_bytes);
    scratch = Buffer(scratch_bytes);
  }
  bound = true;
  parameter_blocks.clear();
  for (const auto& [block, store] : parameters) parameter_blocks.push_back(store->block());
  const auto& nodes = graph->nodes();
  for (Block& b : blocks) {
    switch (b.kind) {
      case Block::Kind::arena:
      case Block::Kind::input:
        b.data = arena.data() + (b.home == kNone ? b : blocks[b.home]).offset;
        break;
      case Block::Kind::constant:
        b.data = static_cast<std::byte*>(const_cast<void*>(nodes[b.source].tensors[0].data()));
        break;
      case Block::Kind::parameter: {  // read only
        const Variable v = *nodes[b.source].variable;
        const auto* base = static_cast<const std::byte*>(v.store->block());
        b.data = const_cast<std::byte*>(base) +
                 v.store->layout().entries[v.index].offset * size_of(v.dtype());
        break;
      }
      case Block::Kind::pinned:
        break;
    }
  }
  for (size_t i = 0; i < ins.size(); ++i)
    ins[i].data = blocks[in_places[i].block].data + in_places[i].offset;
  for (size_t i = 0; i < outs.size(); ++i)
    outs[i].data = blocks[out_places[i].block].data + out_places[i].offset;
}

bool Recording::Plan::parameters_moved() const {
  for (size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].second->block() != parameter_blocks[i]) return true;
  return false;
}

void Recording::Plan::execute(const Instruction& i, uint64_t step) {
  i.op->forward(
      i.attributes,
      {.team = team, .scratch = scratch.data(), .random = random_of(graph->seed(), step, i.node)},
      Ins(ins).subspan(i.in, i.in_count), Outs(outs).subspan(i.out, i.out_count));
}

}  // namespace rein
