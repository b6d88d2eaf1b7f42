#include "number_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

namespace cistern::tool {

std::string fixed(double number, int decimals) {
  std::array<char, 400> text{};
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed, decimals);
  return error == std::errc() && std::isfinite(number) ? std::string(text.data(), end) : "0";
}

std::string time_text(double nanoseconds) {
  const double size = std::abs(nanoseconds);
  if (size < 1e3) return fixed(nanoseconds, 0) + " ns";
  if (size < 1e6) return fixed(nanoseconds / 1e3, 1) + " us";
  if (size < 1e9) return fixed(nanoseconds / 1e6, 1) + " ms";
  return fixed(nanoseconds / 1e9, 2) + " s";
}

std::string percent_text(double part) {
  return fixed(part * 100, std::abs(part) < 0.0995 ? 1 : 0) + " %";
}

}  // namespace cistern::tool
