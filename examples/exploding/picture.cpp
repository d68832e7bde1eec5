#include "picture.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

namespace {

constexpr double kLeft = 64, kRight = 580, kTop = 40, kBottom = 360;
constexpr const char* kGrey = "#808080";
constexpr const char* kColours[] = {"#e5484d", "#3b82f6", "#2f9e58", "#d97706", "#a855f7"};

std::string format(const char* text, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, text);
  std::vsnprintf(line, sizeof line, text, arguments);
  va_end(arguments);
  return line;
}

// Logarithmic: `low` and `high` are exponents of ten.
struct Axis {
  double low, high;

  double place(double value, double from, double to) const {
    return from + (to - from) * (std::log10(value) - low) / (high - low);
  }
};

bool drawable(double value) { return std::isfinite(value) && value > 0; }

}  // namespace

std::string draw(const std::string& title, const std::string& x_name,
                 const std::vector<Curve>& curves) {
  // Curves that go on to the end set the scale; one that breaks off may leave it through the top.
  double longest = 1, least = std::numeric_limits<double>::infinity(), most = 0;
  for (const Curve& curve : curves) {
    longest = std::max(longest, static_cast<double>(curve.y.size()));
    if (!curve.end_note.empty()) continue;
    for (double value : curve.y) {
      if (!drawable(value)) continue;
      least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  const Axis x{0, std::log10(longest)};
  const Axis y{std::floor(std::log10(least)), std::ceil(std::log10(most)) + 2};
  const auto at_x = [&](double value) { return x.place(value, kLeft, kRight); };
  const auto at_y = [&](double value) { return std::max(y.place(value, kBottom, kTop), kTop); };

  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 410\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n";
  svg += format("<text x=\"%g\" y=\"20\" fill=\"%s\" font-size=\"15\">%s</text>\n", kLeft, kGrey,
                title.c_str());
  for (double p = y.low; p <= y.high; ++p) {
    const double place = at_y(std::pow(10, p));
    svg += format("<path d=\"M%g %.1fH%g\" stroke=\"%s\" stroke-opacity=\"0.3\"/>", kLeft, place,
                  kRight, kGrey);
    svg += format("<text x=\"%g\" y=\"%.1f\" fill=\"%s\" text-anchor=\"end\">1e%g</text>\n",
                  kLeft - 8, place + 4, kGrey, p);
  }
  for (double step : {1, 3, 10, 30, 100, 300, 1000, 3000, 10000})
    if (step <= longest)
      svg += format("<text x=\"%.1f\" y=\"%g\" fill=\"%s\" text-anchor=\"middle\">%g</text>\n",
                    at_x(step), kBottom + 20, kGrey, step);
  svg += format("<text x=\"%g\" y=\"%g\" fill=\"%s\" text-anchor=\"middle\">%s</text>\n",
                (kLeft + kRight) / 2, kBottom + 40, kGrey, x_name.c_str());

  for (size_t c = 0; c < curves.size(); ++c) {
    const Curve& curve = curves[c];
    const char* colour = kColours[c % std::size(kColours)];
    std::string points;
    double end_x = 0, end_y = 0;
    for (size_t i = 0; i < curve.y.size() && drawable(curve.y[i]); ++i) {
      end_x = at_x(static_cast<double>(i + 1));
      end_y = at_y(curve.y[i]);
      points += format("%.1f,%.1f ", end_x, end_y);
    }
    svg += format("<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\" points=\"", colour) +
           points + "\"/>\n";
    if (!curve.end_note.empty())
      svg += format(
          "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>"
          "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>\n",
          end_x, end_y, colour, end_x + 12, end_y + 16, colour, curve.end_note.c_str());
    svg += format("<text x=\"%g\" y=\"%g\" fill=\"%s\">%s</text>\n", kRight + 16,
                  kTop + 30 + 24 * static_cast<double>(c), colour, curve.name.c_str());
  }
  return svg + "</svg>\n";
}
