#include "battery.h"

namespace rein::test {
namespace {

using In = std::span<const Value>;

// 0, 1, 2, ... in a mixed order: far enough apart that a difference quotient meets no rival of the
// largest one.
Tensor ramp(const Spec& spec) {
  Tensor t(spec.shape, DType::float64);
  auto x = t.flat<double>();
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i * 100003 % x.size());
  return t.cast(spec.dtype);
}

// Of many numbers some are always near the largest one: then only the results are compared.
void add_maximum(std::vector<OpRow>& rows, std::string_view what, const Shape& shape,
                 const Reduce& options) {
  rows.push_back({.name = "reduce_max " + std::string(what),
                  .inputs = {shape},
                  .build =
                      [options](In in) {
                        return reduce_max(square(in[0]) * 0.01 + ramp(in[0].spec()), options);
                      },
                  .has_gradient = shape.size() < 1000});
}

void add_reductions(std::vector<OpRow>& rows) {
  struct Case {
    std::string_view what;
    Shape shape;
    Reduce options;
  };
  const Case cases[] = {
      {"all", {3, 5}, {}},
      {"all kept", {3, 1, 5}, {.keepdims = true}},
      {"leading", {7, 3}, {.axes = {0}}},
      {"last", {3, 7}, {.axes = {-1}}},
      {"last kept", {3, 7}, {.axes = {1}, .keepdims = true}},
      {"middle", {2, 5, 3}, {.axes = {1}}},
      {"outer two", {4, 3, 5}, {.axes = {0, -2}}},
      {"first and last", {3, 4, 5}, {.axes = {2, 0}, .keepdims = true}},
      {"every other", {3, 2, 4, 2, 3}, {.axes = {0, 2, 4}}},
      {"of size 1", {1, 4, 1}, {.axes = {0, 2}}},
      {"size 1 between", {3, 1, 4}, {.axes = {0, 1}}},
      {"of one number", {1}, {}},
      {"of a scalar", {}, {}},
  };
  for (const Case& c : cases) {
    const Reduce options = c.options;
    auto add = [&](std::string name, Value (*op)(Operand, Reduce, Where)) {
      rows.push_back(
          {.name = std::move(name.append(" ").append(c.what)),
           .inputs = {c.shape},
           .build = [op, options](In in) { return op(square(in[0]), options, Where::here()); }});
    };
    add("reduce_sum", reduce_sum);
    add("reduce_mean", reduce_mean);
    add_maximum(rows, c.what, c.shape, options);
  }
  // Large enough for several tiles, and for blocks inside of a tile.
  const Case large[] = {{"large all", {210001}, {}},
                        {"large leading", {5003, 67}, {.axes = {0}}},
                        {"large narrow", {60001, 3}, {.axes = {0}}},
                        {"large last", {301, 1031}, {.axes = {1}}},
                        {"large middle", {3, 1501, 70}, {.axes = {1}}},
                        {"large first and last", {601, 20, 30}, {.axes = {0, 2}}}};
  for (const Case& c : large) {
    const Reduce options = c.options;
    auto add = [&](std::string name, Value (*op)(Operand, Reduce, Where)) {
      rows.push_back({.name = std::move(name.append(" ").append(c.what)),
                      .inputs = {c.shape},
                      .build = [op, options](In in) { return op(in[0], options, Where::here()); },
                      .second_order = false});
    };
    add("reduce_sum", reduce_sum);
    add("reduce_mean", reduce_mean);
    add_maximum(rows, c.what, c.shape, options);
  }
}

void add_shapes(std::vector<OpRow>& rows) {
  auto add = [&](std::string name, Shape shape, std::function<Value(Value)> op,
                 bool second_order = true) {
    rows.push_back({.name = std::move(name),
                    .inputs = {shape},
                    .build = [op = std::move(op)](In in) { return op(square(in[0])); },
                    .second_order = second_order});
  };
  add("reshape", {3, 4}, [](Value x) { return reshape(x, {2, 6}); });
  add("reshape open", {3, 4, 5}, [](Value x) { return reshape(x, {5, -1}); });
  add("reshape to a vector", {2, 3}, [](Value x) { return reshape(x, {-1}); });
  add("reshape a scalar", {}, [](Value x) { return reshape(x, {1, 1}); });

  add("transpose", {3, 5}, [](Value x) { return transpose(x); });
  add("transpose time and batch", {3, 4, 5}, [](Value x) { return transpose(x, {1, 0, 2}); });
  add("transpose cyclic", {2, 3, 5}, [](Value x) { return transpose(x, {2, 0, 1}); });
  add("transpose negative", {2, 3, 5}, [](Value x) { return transpose(x, {-1, 1, 0}); });
  add("transpose four", {2, 3, 4, 5}, [](Value x) { return transpose(x, {3, 1, 0, 2}); });
  add("transpose size 1", {1, 3, 5}, [](Value x) { return transpose(x, {1, 0, 2}); });
  add("transpose vector", {5}, [](Value x) { return transpose(x); });
  add(
      "transpose large", {301, 517}, [](Value x) { return transpose(x); }, false);
  add(
      "transpose large time and batch", {130, 29, 31},
      [](Value x) {
        return transpose(x, {1, 0, 2});
      },
      false);

  add("broadcast_to", {3, 1}, [](Value x) { return broadcast_to(x, {3, 4}); });
  add("broadcast_to more axes", {3}, [](Value x) { return broadcast_to(x, {2, 4, 3}); });
  add("broadcast_to inside", {2, 1, 3}, [](Value x) { return broadcast_to(x, {2, 5, 3}); });
  add("broadcast_to of a scalar", {}, [](Value x) { return broadcast_to(x, {2, 3}); });
  add("broadcast_to itself", {2, 3}, [](Value x) { return broadcast_to(x, {2, 3}); });
  add(
      "broadcast_to large", {1, 400},
      [](Value x) {
        return broadcast_to(x, {300, 400});
      },
      false);

  add("slice", {4, 5}, [](Value x) { return slice(x, {1, 2}, {2, 3}); });
  add("slice rows", {5, 3}, [](Value x) { return slice(x, {1, 0}, {3, -1}); });
  add("slice to the end", {3, 4, 5}, [](Value x) { return slice(x, {1, 2, 3}, {-1, 1, -1}); });
  add("slice one", {4}, [](Value x) { return slice(x, {3}, {1}); });
  add("slice of a row", {4, 5}, [](Value x) { return slice(x, {2, 1}, {1, 3}); });
  add("slice everything", {4, 5}, [](Value x) { return slice(x, {0, 0}, {-1, -1}); });
  add(
      "slice large", {300, 300},
      [](Value x) {
        return slice(x, {3, 5}, {290, 280});
      },
      false);

  add("pad", {2, 3}, [](Value x) { return pad(x, {{1, 2}, {0, 1}}); });
  add("pad nothing", {2, 3}, [](Value x) { return pad(x, {{0, 0}, {0, 0}}); });
  add("pad vector", {4}, [](Value x) { return pad(x, {{3, 0}}); });
  add(
      "pad large", {200, 211},
      [](Value x) {
        return pad(x, {{1, 2}, {3, 4}});
      },
      false);
}

// `scale` makes pieces differ, so that one in the place of another is found.
Value weighted(const Values& pieces, int axis) {
  Values scaled;
  for (size_t i = 0; i < pieces.size(); ++i)
    scaled.push_back(square(pieces[i]) * (1.0 + static_cast<double>(i)));
  return concat(scaled, {.axis = axis});
}

void add_joins(std::vector<OpRow>& rows) {
  auto add = [&](std::string name, std::vector<Shape> inputs, std::function<Value(In)> build,
                 bool second_order = true) {
    rows.push_back({.name = std::move(name),
                    .inputs = std::move(inputs),
                    .build = std::move(build),
                    .second_order = second_order});
  };
  add("concat rows", {{2, 3}, {1, 3}, {4, 3}}, [](In in) { return square(concat(in)); });
  add("concat last", {{2, 3}, {2, 1}, {2, 5}},
      [](In in) { return square(concat(in, {.axis = -1})); });
  add("concat middle", {{2, 1, 3}, {2, 4, 3}},
      [](In in) { return square(concat(in, {.axis = 1})); });
  add("concat one", {{2, 3}}, [](In in) { return square(concat(in)); });
  add("concat the same twice", {{2, 3}}, [](In in) {
    return square(concat(Values{in[0], in[0]}, {.axis = 1}));
  });
  add("concat with an empty one", {{2, 3}, {0, 3}}, [](In in) { return square(concat(in)); });
  add(
      "concat large", {{300, 200}, {300, 101}}, [](In in) { return concat(in, {.axis = 1}); },
      false);

  add("split rows", {{6, 3}}, [](In in) { return weighted(split(in[0], 3), 0); });
  add("split last", {{3, 6}}, [](In in) { return weighted(split(in[0], 2, {.axis = -1}), 1); });
  add("split sizes", {{3, 6}}, [](In in) {
    return weighted(split(in[0], {1, 3, 2}, {.axis = 1}), 1);
  });
  add("split sizes of rows", {{6, 2}}, [](In in) { return weighted(split(in[0], {1, 5}), 0); });
  add("split middle", {{2, 4, 3}}, [](In in) { return weighted(split(in[0], 4, {.axis = 1}), 1); });
  add(
      "split large", {{400, 300}}, [](In in) { return weighted(split(in[0], 3, {.axis = 1}), 1); },
      false);
  add("split, one piece used", {{6, 3}}, [](In in) { return square(split(in[0], 3)[1]); });
  add("split, last piece used", {{2, 6}},
      [](In in) { return square(split(in[0], 3, {.axis = 1})[2]); });
  add("split, outer pieces used", {{6, 3}}, [](In in) {
    const Values p = split(in[0], 3);
    return p[0] * p[2];
  });

  add("rejoin", {{6, 3}}, [](In in) { return square(concat(split(in[0], 3))); });
  add("rejoin and a piece", {{6, 3}}, [](In in) {
    const Values p = split(in[0], 3);
    return square(concat(p)) * broadcast_to(reduce_sum(p[1]), {6, 3});
  });
  add("rejoin some", {{6, 3}}, [](In in) {
    const Values p = split(in[0], 3);
    return square(concat(Values{p[1], p[2]}));
  });
  add("rejoin along the last axis", {{2, 6}},
      [](In in) { return square(concat(split(in[0], 3, {.axis = 1}), {.axis = 1})); });
  add("rejoin unstacked", {{4, 2, 3}}, [](In in) { return square(stack(unstack(in[0]))); });
  add("rejoin as a stack", {{6, 3}}, [](In in) { return square(stack(split(in[0], 3))); });

  add("stack", {{2, 3}, {2, 3}}, [](In in) { return square(stack(in)); });
  add("stack last", {{2, 3}, {2, 3}, {2, 3}},
      [](In in) { return square(stack(in, {.axis = -1})); });
  add("stack middle", {{2, 3}, {2, 3}}, [](In in) { return square(stack(in, {.axis = 1})); });
  add("stack scalars", {{}, {}}, [](In in) { return square(stack(in)); });
  add("unstack", {{3, 4}}, [](In in) { return weighted(unstack(in[0]), 0); });
  add("unstack last", {{2, 3}}, [](In in) { return weighted(unstack(in[0], {.axis = -1}), 0); });
  add("unstack middle", {{2, 3, 4}},
      [](In in) { return weighted(unstack(in[0], {.axis = 1}), 1); });
}

void add_rows(std::vector<OpRow>& rows) {
  auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  const auto few = Tensor::of<int64_t>({4}, {2, 0, 2, 1});
  const auto table = Tensor::of<int32_t>({2, 3}, {4, 0, 1, 1, 3, 4});
  add({.name = "gather",
       .inputs = {{3, 5}},
       .build = [](In in) { return square(gather(in[0], in[1])); },
       .integers = {few}});
  add({.name = "gather of a table",
       .inputs = {{5, 2, 3}},
       .build = [](In in) { return square(gather(in[0], in[1])); },
       .integers = {table}});
  add({.name = "gather of a vector",
       .inputs = {{5}},
       .build = [](In in) { return square(gather(in[0], in[1])); },
       .integers = {table}});
  add({.name = "gather one row",
       .inputs = {{3, 2}},
       .build = [](In in) { return square(gather(in[0], in[1])); },
       .integers = {Tensor::scalar<int32_t>(1)}});
  add({.name = "gather nothing",
       .inputs = {{3, 2}},
       .build = [](In in) { return square(gather(in[0], in[1])); },
       .integers = {Tensor({0}, DType::int64)}});
  add({.name = "gather twice with indices of both types",
       .inputs = {{5, 2}},
       .build =
           [](In in) {
             return concat(
                 Values{square(gather(in[0], in[1])), square(gather(in[0], reshape(in[2], {6})))});
           },
       .integers = {few, table}});
  add({.name = "gather and dense",
       .inputs = {{4, 2}},
       .build = [](In in) { return square(gather(in[0], in[1])) * in[0]; },
       .integers = {few}});
  add({.name = "gather of a product",
       .inputs = {{3, 2}},
       .build = [](In in) { return gather(square(in[0]), in[1]); },
       .integers = {few}});
  Tensor many({1000}, DType::int64);
  for (size_t i = 0; i < 1000; ++i) many.flat<int64_t>()[i] = static_cast<int64_t>(i * i % 307);
  add({.name = "gather large",
       .inputs = {{307, 60}},
       .build = [](In in) { return gather(in[0], in[1]); },
       .integers = {many},
       .second_order = false});

  add({.name = "scatter_rows",
       .inputs = {{4, 3}},
       .build =
           [](In in) {
             return square(scatter_rows(in[1], in[0], {5, 3}));
           },
       .integers = {few}});
  add({.name = "scatter_rows of a table",
       .inputs = {{2, 3, 2}},
       .build =
           [](In in) {
             return square(scatter_rows(in[1], in[0], {5, 2}));
           },
       .integers = {table}});
  add({.name = "scatter_rows of a vector",
       .inputs = {{4}},
       .build = [](In in) { return square(scatter_rows(in[1], in[0], {3})); },
       .integers = {few}});
  add({.name = "scatter_rows large",
       .inputs = {{1000, 60}},
       .build =
           [](In in) {
             return scatter_rows(in[1], in[0], {400, 60});
           },
       .integers = {many},
       .second_order = false});

  add({.name = "one_hot",
       .inputs = {{2, 3, 5}},
       .build = [](In in) { return square(in[0]) * one_hot(in[1], 5, in[0].dtype()); },
       .integers = {table}});
  add({.name = "one_hot large",
       .inputs = {{1000, 90}},
       .build = [](In in) { return in[0] * one_hot(in[1], 90, in[0].dtype()); },
       .integers = {many},
       .second_order = false});
}

}  // namespace

std::vector<OpRow> array_rows() {
  std::vector<OpRow> rows;
  add_reductions(rows);
  add_shapes(rows);
  add_joins(rows);
  add_rows(rows);
  return rows;
}

}  // namespace rein::test
