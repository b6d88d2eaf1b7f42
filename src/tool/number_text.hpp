// number_text: numbers that aren't whole, as people read them.
#pragma once

#include <string>

namespace cistern::tool {

/// With so many decimals, the same in every locale. "0" for what is no number.
[[nodiscard]] std::string fixed(double number, int decimals);

/// "12 ns", "1.5 us", "3.2 ms", "1.25 s".
[[nodiscard]] std::string time_text(double nanoseconds);

/// "12 %", below ten "3.4 %".
[[nodiscard]] std::string percent_text(double part);

}  // namespace cistern::tool
