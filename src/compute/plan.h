// How a recording runs: its instructions, and where each of their arguments and results lies.
#pragma once

#include <vector>

#include "rein/compute/recording.h"

namespace rein {

struct Recording::Plan {
  Plan(std::unique_ptr<Graph> graph, Values inputs, Values outputs, ThreadTeam& team);

  /// Gives every block its address: before the first run, and whenever variables have moved.
  void bind();
  bool parameters_moved() const;
  void lay_out_arena();

  static constexpr size_t kNone = static_cast<size_t>(-1);

  // Memory of one or more values: views share that of what they look at.
  struct Block {
    enum class Kind { arena, input, constant, parameter, pinned } kind = Kind::arena;
    size_t bytes = 0;
    size_t first = kNone, last = 0;  // instructions between which it is alive
    size_t home = kNone;             // the block whose memory it takes over
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

  void execute(const Instruction& instruction, uint64_t step);

  const Place& place(const Value& v) const { return places[v.node()][v.output()]; }

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
  size_t arena_bytes = 0, scratch_bytes = 0;
  bool bound = false;
  std::vector<std::pair<size_t, const Variables*>> parameters;  // block, store
  std::vector<const void*> parameter_blocks;                    // as they were when bound
  std::vector<OpTime> times;                                    // [instruction], if profiled

 private:
  std::vector<char> find_needed() const;
  void add_source(size_t id, const Graph::Node& node);
  void add_instruction(size_t id, const Graph::Node& node);
  size_t new_block(const Block& block);
  void use(const Value& v, size_t instruction);
  void take_over_arguments();
  size_t argument_to_take(size_t number) const;
};

}  // namespace rein
