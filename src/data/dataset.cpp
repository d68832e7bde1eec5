#include "rein/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace rein {
namespace {

class InMemory final : public Dataset {
 public:
  explicit InMemory(std::vector<Tensor> columns) : columns_(std::move(columns)) {
    for (const Tensor& column : columns_) rows_.emplace_back(column.shape().dims().subspan(1));
  }
  int64_t size() const override { return columns_[0].shape()[0]; }
  Example get(int64_t index) const override {
    Example example;
    for (size_t i = 0; i < columns_.size(); ++i)
      example.push_back(columns_[i].piece(index * rows_[i].size(), rows_[i]));
    return example;
  }

 private:
  std::vector<Tensor> columns_;
  std::vector<Shape> rows_;
};

class Taken final : public Dataset {
 public:
  Taken(DatasetPtr source, int64_t count) : source_(std::move(source)), count_(count) {}
  int64_t size() const override { return std::min(count_, source_->size()); }
  Example get(int64_t index) const override { return source_->get(index); }

 private:
  DatasetPtr source_;
  int64_t count_;
};

class Shuffled final : public Dataset {
 public:
  Shuffled(DatasetPtr source, Seed seed, int64_t epoch)
      : source_(std::move(source)), order_(static_cast<size_t>(source_->size())) {
    std::iota(order_.begin(), order_.end(), int64_t{0});
    const RandomStream random(seed, stream_of("shuffle") + static_cast<uint64_t>(epoch));
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.below(i, i)]);
  }
  int64_t size() const override { return source_->size(); }
  Example get(int64_t index) const override {
    return source_->get(order_[static_cast<size_t>(index)]);
  }

 private:
  DatasetPtr source_;
  std::vector<int64_t> order_;
};

class Batched final : public Dataset {
 public:
  Batched(DatasetPtr source, int64_t batch_size, BatchOptions options)
      : source_(std::move(source)), batch_size_(batch_size), options_(options) {}
  int64_t size() const override {
    const int64_t rest = options_.drop_remainder ? 0 : batch_size_ - 1;
    return (source_->size() + rest) / batch_size_;
  }
  Example get(int64_t index) const override {
    const int64_t first = index * batch_size_;
    const int64_t count = std::min(batch_size_, source_->size() - first);
    const Example head = source_->get(first);
    Example batch;
    for (const Tensor& t : head) batch.push_back(room_for(count, t.spec()));
    for (int64_t i = 0; i < count; ++i) {
      const Example one = source_->get(first + i);
      for (size_t k = 0; k < batch.size(); ++k) {
        if (one.size() != head.size() || one[k].spec() != head[k].spec())
          throw InvalidArgument("batch",
                                fmt::format("examples {} and {} differ in number, shape or type of "
                                            "tensors; bring them to one shape first",
                                            first, first + i),
                                Where{});
        if (one[k].size() > 0)
          std::memcpy(batch[k].piece(i * one[k].size(), one[k].shape()).data(), one[k].data(),
                      one[k].spec().bytes());
      }
    }
    return batch;
  }

 private:
  static Tensor room_for(int64_t count, const Spec& spec) {
    Shape shape{count};
    for (int64_t dim : spec.shape) shape.push_back(dim);
    return Tensor(shape, spec.dtype);
  }

  DatasetPtr source_;
  int64_t batch_size_;
  BatchOptions options_;
};

}  // namespace

DatasetPtr in_memory(std::vector<Tensor> columns, Where where) {
  if (columns.empty()) throw InvalidArgument("in_memory", "no tensors", where);
  for (const Tensor& column : columns)
    if (column.shape().rank() == 0 || column.shape()[0] != columns[0].shape()[0])
      throw InvalidArgument("in_memory",
                            fmt::format("columns need one first size, got shapes {} and {}",
                                        to_string(columns[0].shape()), to_string(column.shape())),
                            where);
  return std::make_shared<InMemory>(std::move(columns));
}

DatasetPtr take(DatasetPtr source, int64_t count, Where where) {
  if (count < 0) throw InvalidArgument("take", fmt::format("{} examples", count), where);
  return std::make_shared<Taken>(std::move(source), count);
}

DatasetPtr shuffle(DatasetPtr source, Seed seed, int64_t epoch) {
  return std::make_shared<Shuffled>(std::move(source), seed, epoch);
}

DatasetPtr batch(DatasetPtr source, int64_t batch_size, BatchOptions options, Where where) {
  if (batch_size <= 0)
    throw InvalidArgument("batch", fmt::format("a batch of {} examples", batch_size), where);
  return std::make_shared<Batched>(std::move(source), batch_size, options);
}

}  // namespace rein
