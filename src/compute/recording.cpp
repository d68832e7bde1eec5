#include "rein/compute/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "trace.h"

namespace rein {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

// Memory of one or more values: views share that of what they look at.
struct Block {
  enum class Kind { arena, input, constant, parameter, pinned } kind = Kind::arena;
  size_t bytes = 0;
  size_t first = kNone, last = 0;  // instructions between which it is alive
  size_t offset = 0;               // in the arena
  std::byte* data = nullptr;
  size_t source = 0;  // input: its number; constant, parameter: the node
};

struct Place {  // of one result of one node
  size_t block = kNone;
  size_t offset = 0;  // bytes
};

struct Instruction {
  const OpRecord* op;
  const void* attributes;
  size_t node;
  size_t in, in_count, out, out_count;  // ranges of `ins` and `outs`
};

}  // namespace

struct Recording::Plan {
  std::unique_ptr<Graph> graph;
  Values inputs, outputs;
  ThreadTeam& team;

  std::vector<std::vector<Place>> places;  // [node][result]
  std::vector<Block> blocks;
  std::vector<Instruction> instructions;
  std::vector<In> ins;
  std::vector<Out> outs;
  std::vector<Place> in_places, out_places;
  Buffer arena, scratch;
  size_t scratch_bytes = 0;
  bool bound = false;
  std::vector<std::pair<size_t, const Variables*>> parameters;  // block, store
  std::vector<const void*> parameter_blocks;                    // as they were when bound

  Plan(std::unique_ptr<Graph> g, Values in, Values out, ThreadTeam& t)
      : graph(std::move(g)), inputs(std::move(in)), outputs(std::move(out)), team(t) {
    lay_out();
  }

  const Place& place(const Value& v) const { return places[v.node()][v.output()]; }

  std::vector<char> find_needed() const {
    const auto& nodes = graph->nodes();
    std::vector<char> needed(nodes.size(), 0);
    for (const Value& v : outputs) needed[v.node()] = 1;
    for (size_t id = nodes.size(); id-- > 0;)
      if (needed[id])
        for (const Value& v : graph->read_by(nodes[id])) needed[v.node()] = 1;
    for (const Value& v : inputs) needed[v.node()] = 1;
    return needed;
  }

  size_t new_block(Block block) {
    blocks.push_back(block);
    return blocks.size() - 1;
  }

  void use(const Value& v, size_t instruction) {
    Block& b = blocks[place(v).block];
    b.first = std::min(b.first, instruction);
    b.last = std::max(b.last, instruction);
  }

  void lay_out() {
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

  void add_source(size_t id, const Graph::Node& node) {
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

  void add_instruction(size_t id, const Graph::Node& node) {
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

  // Largest first, each at the lowest offset that is free while it lives.
  void lay_out_arena() {
    std::vector<size_t> order;
    for (size_t i = 0; i < blocks.size(); ++i)
      if (blocks[i].kind == Block::Kind::arena || blocks[i].kind == Block::Kind::input)
        order.push_back(i);
    std::ranges::stable_sort(order, std::greater{}, [&](size_t i) { return blocks[i].bytes; });
    struct Placed {
      size_t offset, end, first, last;
    };
    std::vector<Placed> placed;  // by rising offset
    arena_size = 0;
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
      arena_size = std::max(arena_size, round_up(here.end, Buffer::kAlignment));
    }
  }
  size_t arena_size = 0;

  void bind() {
    if (!bound) {
      lay_out_arena();  // pinned blocks have left it
      arena = Buffer(arena_size);
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
          b.data = arena.data() + b.offset;
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

  bool parameters_moved() const {
    for (size_t i = 0; i < parameters.size(); ++i)
      if (parameters[i].second->block() != parameter_blocks[i]) return true;
    return false;
  }
};

Recording::Recording(std::unique_ptr<Graph> graph, Values inputs, Values outputs, ThreadTeam& team)
    : plan_(std::make_unique<Plan>(std::move(graph), std::move(inputs), std::move(outputs), team)) {
}
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;
Recording& Recording::operator=(Recording&&) noexcept = default;

void Recording::run(std::span<const Tensor> inputs, uint64_t step, Where where) {
  Plan& plan = *plan_;
  if (inputs.size() != plan.inputs.size())
    throw InvalidArgument(
        "Recording::run",
        fmt::format("{} inputs, recorded with {}", inputs.size(), plan.inputs.size()), where);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].spec() != input_spec(i))
      throw InvalidArgument(
          "Recording::run",
          fmt::format("input {} is {}, recorded with {}; record once a shape, or make batches "
                      "equal",
                      i, to_string(inputs[i].spec()), to_string(input_spec(i))),
          where);
  if (!plan.bound || plan.parameters_moved()) plan.bind();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Place& p = plan.place(plan.inputs[i]);
    if (const size_t bytes = inputs[i].spec().bytes(); bytes > 0)
      std::memcpy(plan.blocks[p.block].data, inputs[i].data(), bytes);
  }
  const Seed seed = plan.graph->seed();
  for (const Instruction& i : plan.instructions)
    i.op->forward(i.attributes,
                  {.team = plan.team,
                   .scratch = plan.scratch.data(),
                   .random = random_of(seed, step, i.node)},
                  Ins(plan.ins).subspan(i.in, i.in_count),
                  Outs(plan.outs).subspan(i.out, i.out_count));
}

size_t Recording::input_count() const { return plan_->inputs.size(); }
const Spec& Recording::input_spec(size_t i) const { return plan_->inputs[i].spec(); }

Tensor Recording::output(size_t i, Where where) const {
  if (!plan_->bound) throw InvalidArgument("Recording::output", "it has not run yet", where);
  const Place& p = plan_->place(plan_->outputs[i]);
  return Tensor::view(plan_->outputs[i].spec(), plan_->blocks[p.block].data + p.offset);
}

bool Recording::pin_output(size_t i, void* data) {
  const Value& v = plan_->outputs[i];
  const Place& p = plan_->place(v);
  Block& block = plan_->blocks[p.block];
  if (plan_->bound || block.kind != Block::Kind::arena || p.offset != 0 ||
      block.bytes != v.spec().bytes())
    return false;
  block.kind = Block::Kind::pinned;
  block.data = static_cast<std::byte*>(data);
  return true;
}

size_t Recording::arena_bytes() const {
  if (!plan_->bound) plan_->lay_out_arena();
  return plan_->arena_size + plan_->scratch_bytes;
}
size_t Recording::instruction_count() const { return plan_->instructions.size(); }
const Graph& Recording::graph() const { return *plan_->graph; }

Recorded trace(const ModelFunction& function, std::span<const Spec> specs, Seed seed, Where where) {
  Recorded r{std::make_unique<Graph>(GraphOptions{.eager = false, .seed = seed}), {}, {}};
  for (const Spec& spec : specs) r.inputs.push_back(r.graph->input(spec));
  r.outputs = function(r.inputs);
  if (r.outputs.empty()) throw InvalidArgument("record", "the function returned nothing", where);
  for (const Value& v : r.outputs)
    if (!v.defined() || &v.graph() != r.graph.get())
      throw InvalidArgument("record", "the function returned a value of another tape or none",
                            where);
  return r;
}

Recording record_forward(const ModelFunction& function, std::span<const Spec> inputs,
                         ThreadTeam& team, Seed seed, Where where) {
  Recorded r = trace(function, inputs, seed, where);
  return {std::move(r.graph), std::move(r.inputs), std::move(r.outputs), team};
}

}  // namespace rein
