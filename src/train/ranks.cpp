#include "train/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <sstream>
#include <string_view>

namespace rein {
namespace {

using Kind = Gradients::Kind;

// What tells numbers from others.
std::string digest(const void* data, const Spec& spec) {
  const std::string_view bytes(static_cast<const char*>(data), spec.bytes());
  return fmt::format("{} with the numbers {:x}", to_string(spec),
                     std::hash<std::string_view>{}(bytes));
}
std::string digest(const StateValue& value) {
  const Tensor* tensor = std::get_if<Tensor>(&value);
  return tensor ? digest(tensor->data(), tensor->spec()) : to_string(value);
}

// A line for everything that must be the same on all ranks; the first that differs is told.
std::string lines_of(const Variables& variables, const Settings& settings,
                     const StateDict& remembered) {
  std::string lines = fmt::format("{} steps\n", to_string(remembered.at("step")));
  visit_float(variables.dtype(), [&](auto zero) {
    for (size_t i = 0; i < variables.size(); ++i) {
      const auto& entry = variables.layout().entries[i];
      lines += fmt::format("'{}' {}\n", entry.name,
                           digest(variables.values<decltype(zero)>(i).data(), entry.spec));
    }
  });
  lines += to_string(settings);
  for (const auto& live : settings.live)
    for (const Field& field : live.state->state())
      lines += fmt::format("known/{}/{}: {}\n", live.name, field.name, to_string(field.value));
  for (const auto& [name, value] : remembered)
    lines += fmt::format("{}: {}\n", name, digest(value));
  return lines;
}

// The first line of `text` that is not in the same place of `other`.
std::string first_difference(const std::string& text, const std::string& other) {
  std::istringstream here(text), there(other);
  std::string line, same;
  while (std::getline(here, line) && std::getline(there, same) && line == same) {
  }
  return here ? line : "less than that";
}

}  // namespace

void Ranks::need_same(const Variables& variables, const Settings& settings,
                      const StateDict& remembered, Where where) {
  const std::string mine = lines_of(variables, settings, remembered);
  std::string first = mine;
  size_t length = first.size();
  send(std::span(&length, 1), 0);
  first.resize(length);
  send(std::span(first), 0);

  std::vector<double> differs(static_cast<size_t>(communicator_.size()));
  differs[static_cast<size_t>(communicator_.rank())] = mine != first;
  communicator_.all_reduce(std::span(differs));
  const auto other = std::ranges::find(differs, 1.0);
  same_ = other == differs.end();
  if (same_) return;
  throw InvalidArgument(
      "Step",
      fmt::format("rank {} does not train the same as rank 0{}; begin with the same variables, "
                  "seed and settings on all ranks, or load the same state",
                  other - differs.begin(),
                  mine == first
                      ? std::string()
                      : fmt::format(": rank {} has {}, rank 0 has {}", communicator_.rank(),
                                    first_difference(mine, first), first_difference(first, mine))),
      where);
}

void Ranks::join(Gradients& gradients, StepInfo& info) {
  if (alone()) return;
  // Sums over m micro-batches of n examples wait with a scale of 1 / (m n), or 1 / m if the cost
  // takes the mean: so they weigh.
  const double weight = 1 / gradients.scale;
  constexpr size_t kCounts = 5;
  sums_.assign(kCounts + 2 * gradients.size(), 0);
  sums_[0] = weight;
  sums_[1] = weight * info.loss;
  sums_[2] = static_cast<double>(info.examples);
  sums_[3] = static_cast<double>(info.micro_batches);
  sums_[4] = static_cast<double>(info.clipped_examples);
  const auto of = [&](size_t i, Kind kind) -> double& {
    return sums_[kCounts + 2 * i + (kind == Kind::dense)];
  };
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients.kind(i) != Kind::absent) of(i, gradients.kind(i)) = 1;
  communicator_.all_reduce(std::span(sums_));
  gradients.scale = 1 / sums_[0];
  info.loss = sums_[1] / sums_[0];
  info.examples = std::llround(sums_[2] / communicator_.size());
  info.micro_batches = std::llround(sums_[3]);
  info.clipped_examples = std::llround(sums_[4]);

  visit_float(gradients.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (of(i, Kind::dense) > 0) {
        if (gradients.kind(i) == Kind::absent) std::ranges::fill(gradients.dense<T>(i), T{0});
        gradients.make_dense(i);
        gradients.set_kind(i, Kind::dense);
        communicator_.all_reduce(gradients.dense<T>(i));
      } else if (of(i, Kind::sparse) > 0) {
        join_rows(gradients, i);
      }
    }
  });
}

void Ranks::join_rows(Gradients& gradients, size_t variable) {
  const auto me = static_cast<size_t>(communicator_.rank());
  const bool any = gradients.kind(variable) == Kind::sparse;
  std::vector<double> counts(static_cast<size_t>(communicator_.size()));
  if (any) counts[me] = static_cast<double>(gradients.sparse(variable).indices.size());
  communicator_.all_reduce(std::span(counts));

  Shape shape = gradients.layout().entries[variable].spec.shape;
  shape[0] = 0;
  for (const double count : counts) shape[0] += static_cast<int64_t>(count);
  Tensor values(shape, gradients.dtype()), indices({shape[0]}, DType::int64);
  int64_t first = 0;
  for (size_t rank = 0; rank < counts.size(); ++rank) {
    const auto count = static_cast<int64_t>(counts[rank]);
    if (count == 0) continue;
    shape[0] = count;
    const auto share = [&](Tensor all, const Tensor& mine, const Shape& part) {
      Tensor piece = all.piece(first * part.size(1, part.rank()), part);
      if (rank == me) std::memcpy(piece.data(), mine.data(), piece.spec().bytes());
      send(std::span(static_cast<std::byte*>(piece.data()), piece.spec().bytes()),
           static_cast<int>(rank));
    };
    const IndexedSlices mine = any ? gradients.sparse(variable) : IndexedSlices{};
    share(values, mine.values, shape);
    share(indices, mine.indices, {count});
    first += count;
  }
  gradients.set_rows(variable, values, indices);
}

}  // namespace rein
