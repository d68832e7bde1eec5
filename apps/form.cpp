#include "form.h"

namespace rein::app {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

Form::Form(std::string_view whole) : text(whole), name(whole.substr(0, whole.find(':'))) {
  if (name.size() == whole.size()) return;
  for (const std::string_view part : split(whole.substr(name.size() + 1), ',')) {
    const size_t equal = part.find('=');
    if (equal == std::string_view::npos && main.empty())
      main = part.empty() ? std::string_view("?") : part;
    else
      settings.emplace_back(part.substr(0, equal),
                            equal == std::string_view::npos ? "" : part.substr(equal + 1));
  }
}

bool Form::names(std::string_view setting) const {
  return std::ranges::any_of(settings, [&](const auto& given) { return given.first == setting; });
}

}  // namespace rein::app
