// letters, printed: texts that tests compare with.
#pragma once

#include <cstddef>
#include <sstream>
#include <string>

namespace cistern::test_support {

/// `n` letters, the alphabet again and again.
[[nodiscard]] inline std::string letters(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

/// What `<<` makes of a value.
template <class T>
[[nodiscard]] std::string printed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

}  // namespace cistern::test_support
