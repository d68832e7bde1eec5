#include "rein/tensor/variables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/factor.h"
#include "rein/base/text.h"

namespace rein {
namespace {

void expect_spec(std::string_view op, const Layout::Entry& entry, const Spec& got, Where where) {
  if (got == entry.spec) return;
  throw InvalidArgument(
      op, fmt::format("'{}' is {}, got {}", entry.name, to_string(entry.spec), to_string(got)),
      where);
}

}  // namespace

const std::string& Variable::name() const { return store->layout().entries[index].name; }
const Spec& Variable::spec() const { return store->layout().entries[index].spec; }

Tensor Variable::read() const {
  const auto& entry = store->layout().entries[index];
  Tensor t(entry.spec);
  const auto* from =
      static_cast<const std::byte*>(store->block()) + entry.offset * size_of(entry.spec.dtype);
  std::memcpy(t.data(), from, entry.spec.bytes());
  return t;
}

Variables::Variables(Seed seed, DType dtype, Where where) : seed_(seed), dtype_(dtype) {
  if (!is_floating(dtype))
    throw InvalidArgument(
        "Variables", fmt::format("parameters are float32 or float64, got {}", to_string(dtype)),
        where);
}

Variable Variables::add(std::string name, Shape shape, const Initializer& initializer,
                        Where where) {
  if (name.empty()) throw InvalidArgument("Variables::add", "a variable needs a name", where);
  if (contains(name))
    throw InvalidArgument("Variables::add",
                          fmt::format("a variable named '{}' exists already; give this one "
                                      "another name or scope",
                                      name),
                          where);
  if (!initializer)
    throw InvalidArgument("Variables::add", fmt::format("'{}' has no initializer", name), where);
  for (int64_t dim : shape)
    if (dim <= 0)
      throw InvalidArgument(
          "Variables::add",
          fmt::format("'{}' needs positive sizes, got {}", name, to_string(shape)), where);

  std::vector<double> init(static_cast<size_t>(shape.size()));
  initializer(shape, RandomStream(seed_, stream_of(name)), init);
  const Tensor value = Tensor::copy_of<double>(shape, init).cast(dtype_);

  const size_t unit = Buffer::kAlignment / size_of(dtype_);
  const size_t offset = layout_.size;
  const size_t size = init.size();
  const size_t room = offset + round_up(size, unit);
  if (room * size_of(dtype_) > block_.size()) {
    Buffer larger(std::max(room * size_of(dtype_), 2 * block_.size()));
    if (offset > 0) std::memcpy(larger.data(), block_.data(), offset * size_of(dtype_));
    block_ = std::move(larger);
  }
  std::memcpy(block_.data() + offset * size_of(dtype_), value.data(), value.spec().bytes());
  layout_.entries.push_back({std::move(name), {shape, dtype_}, offset, size});
  layout_.size = room;
  return {this, layout_.entries.size() - 1};
}

bool Variables::contains(std::string_view name) const {
  return std::ranges::any_of(layout_.entries, [&](const auto& e) { return e.name == name; });
}

Variable Variables::at(std::string_view name, Where where) {
  for (size_t i = 0; i < size(); ++i)
    if (layout_.entries[i].name == name) return {this, i};
  std::vector<std::string_view> names;
  for (const auto& e : layout_.entries) names.push_back(e.name);
  throw InvalidArgument("Variables::at",
                        fmt::format("no variable is named '{}'{}", name, did_you_mean(name, names)),
                        where);
}

int64_t Variables::parameter_count() const {
  int64_t count = 0;
  for (const auto& e : layout_.entries) count += static_cast<int64_t>(e.size);
  return count;
}

void Variables::assign(const Variable& variable, const Tensor& value, Where where) {
  if (variable.store != this)
    throw InvalidArgument("Variables::assign", "the variable belongs to other Variables", where);
  const auto& entry = layout_.entries[variable.index];
  expect_spec("Variables::assign", entry, value.spec(), where);
  std::memcpy(block_.data() + entry.offset * size_of(dtype_), value.data(), value.spec().bytes());
}

Gradients::Gradients(const Variables& variables)
    : layout_(&variables.layout()),
      dtype_(variables.dtype()),
      block_(layout_->size * size_of(dtype_)),
      kinds_(variables.size(), Kind::absent),
      sparse_(variables.size()) {}

void Gradients::set(size_t index, const Gradient& gradient, Where where) {
  const auto& entry = layout_->entries[index];
  if (!gradient) {
    kinds_[index] = Kind::absent;
    return;
  }
  expect_spec("Gradients::set", entry, {gradient.shape(), gradient.values().dtype()}, where);
  if (gradient.is_sparse()) {
    validate(gradient.sparse(), where);
    set_rows(index, gradient.values(), gradient.sparse().indices, where);
    return;
  }
  std::memcpy(block_.data() + entry.offset * size_of(dtype_), gradient.dense().data(),
              entry.spec.bytes());
  kinds_[index] = Kind::dense;
}

void Gradients::set_rows(size_t index, const Tensor& values, const Tensor& indices, Where where) {
  const auto& entry = layout_->entries[index];
  expect_spec("Gradients::set", entry, {entry.spec.shape, values.dtype()}, where);
  kinds_[index] = Kind::absent;  // should the rows be refused
  sparse_[index].assign(values, indices, entry.spec.shape, where);
  kinds_[index] = Kind::sparse;
}

namespace {

template <class T>
void add_rows(std::span<T> dense, const IndexedSlices& slices) {
  const auto values = slices.values.template flat<T>();
  const auto rows = slices.indices.template flat<int64_t>();
  const size_t width = rows.empty() ? 0 : values.size() / rows.size();
  for (size_t k = 0; k < rows.size(); ++k)
    for (size_t i = 0; i < width; ++i)
      dense[static_cast<size_t>(rows[k]) * width + i] += values[k * width + i];
}

}  // namespace

void Gradients::make_dense(size_t index) {
  if (kinds_[index] != Kind::sparse) return;
  visit_float(dtype_, [&](auto zero) {
    using T = decltype(zero);
    std::ranges::fill(dense<T>(index), T{0});
    add_rows(dense<T>(index), sparse(index));
  });
  kinds_[index] = Kind::dense;
}

void Gradients::add(const Gradients& other) {
  visit_float(dtype_, [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < size(); ++i) {
      if (other.kind(i) == Kind::absent) continue;
      const bool rows = other.kind(i) == Kind::sparse;
      if (kinds_[i] == Kind::absent) {
        if (rows)
          set_rows(i, other.sparse(i).values, other.sparse(i).indices);
        else
          std::ranges::copy(other.dense<T>(i), dense<T>(i).begin());
        kinds_[i] = other.kind(i);
      } else if (rows && kinds_[i] == Kind::sparse) {
        sparse_[i].append(other.sparse(i));
      } else {
        make_dense(i);
        const auto to = dense<T>(i);
        if (rows) {
          add_rows(to, other.sparse(i));
        } else {
          const auto from = other.dense<T>(i);
          for (size_t k = 0; k < to.size(); ++k) to[k] += from[k];
        }
      }
    }
  });
}

void Gradients::merge_duplicates() {
  for (size_t i = 0; i < size(); ++i)
    if (kinds_[i] == Kind::sparse) sparse_[i].merge_duplicates(team);
}

Gradient Gradients::get(size_t index) const {
  if (kinds_[index] == Kind::absent) return {};
  return visit_float(dtype_, [&](auto zero) -> Gradient {
    using T = decltype(zero);
    const auto numbers = stored<T>(index);
    const bool is_sparse = kinds_[index] == Kind::sparse;
    Tensor copy = Tensor::copy_of<T>(
        is_sparse ? sparse(index).values.shape() : layout_->entries[index].spec.shape, numbers);
    if (scale != 1)
      for (T& v : copy.flat<T>())
        v = needs_double<T>(scale) ? static_cast<T>(static_cast<double>(v) * scale)
                                   : v * static_cast<T>(scale);
    if (!is_sparse) return copy;
    return IndexedSlices{std::move(copy), sparse(index).indices.clone(), sparse(index).dense_shape};
  });
}

}  // namespace rein
