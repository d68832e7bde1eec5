// What happens to a block of gradients on its way into the parameters.
#pragma once

#include <cstddef>
#include <limits>

namespace rein::kernels {

/// out[i] = x[i] * factor, the factor rounded to the type of x, unless it would vanish or be
/// infinite there: then in double. With factor 1 the bits stay. `out` may be `x`.
void scale_into(const float* x, double factor, float* out, size_t n) noexcept;
void scale_into(const double* x, double factor, double* out, size_t n) noexcept;

/// x[i] *= factors[i], the product taken in double; with factor 1 the bits stay.
void scale_each(const double* factors, float* x, size_t n) noexcept;
void scale_each(const double* factors, double* x, size_t n) noexcept;

/// x[i] = max(min(x[i], hi), lo); NaN stays NaN. Whether anything changed.
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept;
bool clip_in_place(double* x, double lo, double hi, size_t n) noexcept;

struct SpikeNumbers {
  double root_theta, beta2;
};
/// x[i] with root[i] > 0 whose size is above root_theta root[i] becomes that, with its sign; and
/// coming[i] = sqrt(beta2 root[i]^2 + (1 - beta2) x[i]^2), root[i] where that square is not finite.
/// Squares from `kLeastSquare` on that are finite are of the type of x, others double. Whether
/// anything in x changed.
template <class T>
inline constexpr T kLeastSquare = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
bool clip_spikes(float* x, const float* root, float* coming, const SpikeNumbers& a,
                 size_t n) noexcept;
bool clip_spikes(double* x, const double* root, double* coming, const SpikeNumbers& a,
                 size_t n) noexcept;

/// w[i] += d[i]
void add_into(float* w, const float* d, size_t n) noexcept;
void add_into(double* w, const double* d, size_t n) noexcept;

/// out[i] = a x[i] + b y[i]; `out` may be `x` or `y`.
void combine(double a, const float* x, double b, const float* y, float* out, size_t n) noexcept;
void combine(double a, const double* x, double b, const double* y, double* out, size_t n) noexcept;

// One step of a rule, its numbers ready for use: gradients d become what is added to the weights.

struct AdamNumbers {
  double beta1, beta2;              // decay of m and v
  double new1, new2;                // weight of what is new: 1 - beta1, 1 - beta2
  double rate;                      // learning rate with its bias correction
  double root_factor, epsilon = 0;  // the denominator is sqrt(v) * root_factor + epsilon
};
/// m = beta1 m + new1 d, v = beta2 v + new2 d^2, d = -rate m / (sqrt(v) root_factor + epsilon).
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept;
void adam(double* d, double* m, double* v, const AdamNumbers& a, size_t n) noexcept;
/// The same with s = max(v square_factor, s) in the place of v.
void amsgrad(float* d, float* m, float* v, float* s, const AdamNumbers& a, double square_factor,
             size_t n) noexcept;
void amsgrad(double* d, double* m, double* v, double* s, const AdamNumbers& a, double square_factor,
             size_t n) noexcept;

struct LionNumbers {
  double beta1, new1;  // weights of m and d in the direction
  double beta2, new2;  // and in the next m
  double rate;
};
/// d' = -rate sign(beta1 m + new1 d), m = beta2 m + new2 d. The sign of 0 is 0, of NaN NaN.
void lion(float* d, float* m, const LionNumbers& a, size_t n) noexcept;
void lion(double* d, double* m, const LionNumbers& a, size_t n) noexcept;

struct RpropNumbers {
  double decrease, increase, min_step, max_step;
};
/// step changes by increase or decrease, as d has the sign of `previous` or the other; where it has
/// the other, d counts as 0. previous = d, d = -step sign(d).
void rprop(float* d, float* previous, float* step, const RpropNumbers& a, size_t n) noexcept;
void rprop(double* d, double* previous, double* step, const RpropNumbers& a, size_t n) noexcept;

struct FtrlNumbers {
  double rate, l1;
  double fixed;      // what the denominator has beside the root
  double shrinkage;  // of the weights
};
/// n = n + d^2 with root r, z += d + shrinkage w - (r - the root before) / rate w, and d takes w to
/// (sign(z) l1 - z) / (r / rate + fixed), or to 0 where |z| <= l1.
void ftrl(float* d, float* n, float* z, const float* w, const FtrlNumbers& a, size_t size) noexcept;
void ftrl(double* d, double* n, double* z, const double* w, const FtrlNumbers& a,
          size_t size) noexcept;

struct AdamaxNumbers {
  double beta1, new1, beta2, rate;
  double added, epsilon;  // to |d|, and to u in the denominator
};
/// m = beta1 m + new1 d, u = max(beta2 u, |d| + added), d = -rate m / (u + epsilon).
void adamax(float* d, float* m, float* u, const AdamaxNumbers& a, size_t n) noexcept;
void adamax(double* d, double* m, double* u, const AdamaxNumbers& a, size_t n) noexcept;

struct NadamNumbers {
  double beta1, new1, beta2, new2;
  double of_m, of_d;
  double root_factor, epsilon;
};
/// m and v as with Adam, d = -(of_m m + of_d d) / (sqrt(v) root_factor + epsilon).
void nadam(float* d, float* m, float* v, const NadamNumbers& a, size_t n) noexcept;
void nadam(double* d, double* m, double* v, const NadamNumbers& a, size_t n) noexcept;

struct RmsNumbers {
  double rho, rate;
  double in_root, epsilon;  // added to what is under the root, and to the root
};
/// s = rho s + (1 - rho) d^2, d = -rate d / (sqrt(s + in_root) + epsilon).
void rmsprop(float* d, float* s, const RmsNumbers& a, size_t n) noexcept;
void rmsprop(double* d, double* s, const RmsNumbers& a, size_t n) noexcept;
/// The same with s - mean^2 under the root, mean = rho mean + (1 - rho) d.
void centered_rmsprop(float* d, float* s, float* mean, const RmsNumbers& a, size_t n) noexcept;
void centered_rmsprop(double* d, double* s, double* mean, const RmsNumbers& a, size_t n) noexcept;

struct AdagradNumbers {
  double rate, in_root, epsilon;  // as of RMSProp
  bool rests_at_0;                // d = 0 where s is 0
};
/// s = s + d^2, d = -rate d / (sqrt(s + in_root) + epsilon).
void adagrad(float* d, float* s, const AdagradNumbers& a, size_t n) noexcept;
void adagrad(double* d, double* s, const AdagradNumbers& a, size_t n) noexcept;

struct AdadeltaNumbers {
  double rho, rate, epsilon;
};
/// s = rho s + (1 - rho) d^2, u = sqrt(step + epsilon) / sqrt(s + epsilon) d,
/// step = rho step + (1 - rho) u^2, d = -rate u.
void adadelta(float* d, float* s, float* step, const AdadeltaNumbers& a, size_t n) noexcept;
void adadelta(double* d, double* s, double* step, const AdadeltaNumbers& a, size_t n) noexcept;

struct ScheduleFreeNumbers {
  double beta2, new2, root_factor, epsilon;  // of v, as with Adam
  double decay;                              // of the weights
  double share;                              // of z in the average
  double z_rate, y_rate;
};
/// v as with Adam, u = d / (sqrt(v) root_factor + epsilon) + decay y, d = share (z - y) - y_rate u,
/// z = z - z_rate u.
void schedule_free(float* d, float* z, float* v, const float* y, const ScheduleFreeNumbers& a,
                   size_t n) noexcept;
void schedule_free(double* d, double* z, double* v, const double* y, const ScheduleFreeNumbers& a,
                   size_t n) noexcept;

/// scale_into, adam and add_into in one, to the same bits: what the step with `gradient` times
/// `factor` makes of m, v and the parameters w.
void adam_update(const float* gradient, double factor, float* w, float* m, float* v,
                 const AdamNumbers& a, size_t n) noexcept;
void adam_update(const double* gradient, double factor, double* w, double* m, double* v,
                 const AdamNumbers& a, size_t n) noexcept;

/// Plain loops, the oracles of those above that are written in vectors.
namespace ref {
void scale_into(const float* x, double factor, float* out, size_t n) noexcept;
void scale_each(const double* factors, float* x, size_t n) noexcept;
bool clip_in_place(float* x, float lo, float hi, size_t n) noexcept;
bool clip_spikes(float* x, const float* root, float* coming, const SpikeNumbers& a,
                 size_t n) noexcept;
void add_into(float* w, const float* d, size_t n) noexcept;
void combine(double a, const float* x, double b, const float* y, float* out, size_t n) noexcept;
void adam(float* d, float* m, float* v, const AdamNumbers& a, size_t n) noexcept;
void amsgrad(float* d, float* m, float* v, float* s, const AdamNumbers& a, double square_factor,
             size_t n) noexcept;
void lion(float* d, float* m, const LionNumbers& a, size_t n) noexcept;
void rprop(float* d, float* previous, float* step, const RpropNumbers& a, size_t n) noexcept;
void ftrl(float* d, float* n, float* z, const float* w, const FtrlNumbers& a, size_t size) noexcept;
}  // namespace ref

}  // namespace rein::kernels
