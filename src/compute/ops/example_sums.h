// Ops that know the examples of a batch: norms of what each adds to a sum, and sums in which each
// has a factor. Row r of a matrix is of example r / inner % batch.
#pragma once

#include <vector>

#include "rein/compute/ops.h"

namespace rein {

/// A sum of a^T b, of matrices with equally many rows.
struct RowPair {
  Value a, b;
  int64_t inner = 1;
};
/// The norm of each example's sum over the pairs, of its rows alone: float64 [batch]. No product is
/// made where an example has few rows: the square of the norm is the sum over its pairs of rows
/// (t, t') of <a_t, a_t'> <b_t, b_t'> (Goodfellow 2015, arXiv 1510.01799; over time Li and others
/// 2022, arXiv 2110.05679).
Value example_norms(const std::vector<RowPair>& pairs, int64_t batch);
/// The norm of each row of `values` [batch, n].
Value example_norms(Value values);
/// The norm of the rows of each example, at indices [n]; those with one index are added up before.
Value example_row_norms(Value indices, Value rows, int64_t inner, int64_t batch);

/// Numbers in the order of the gates of a fused LSTM as [steps, batch, 4 units], for x and h of
/// these shapes.
Value lstm_rows(Value gates, Value x, Value h);

/// x, of which element e belongs to example e / stride % batch, times its factor, float64 [batch].
/// What has a factor of 0 becomes 0, whatever it was.
Value scale_examples(Value x, Value factors, int64_t stride);
/// The sum of a pair over all rows, without those of `a` whose factor is 0.
Value example_product(const RowPair& pair, Value factors);

}  // namespace rein
