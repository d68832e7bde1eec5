// Curves on two logarithmic axes, as an SVG file.
#pragma once

#include <string>
#include <vector>

struct Curve {
  std::string name;
  std::vector<double> y;  // at x = 1, 2, 3, ...; drawn up to the first that is not finite
  std::string end_note;   // what to write at a curve that ends early
};

/// Readable on light and dark pages: no background, colours of middle lightness.
std::string draw(const std::string& title, const std::string& x_name,
                 const std::vector<Curve>& curves);
