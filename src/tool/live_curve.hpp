// live_curve: how many bytes were live over time, in series that add up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cistern::tool {

/// Time from 0 to an end in bins of one width. Each bin has what every series came to when their sum was
/// highest in it, so that no peak is lost, and the series of a bin add up. Bytes are kept in `double`: exact
/// up to 2^53, and nothing that a trace states overflows. Not thread-safe.
class live_curve {
 public:
  /// Preconditions: `bins` and `series` aren't 0.
  live_curve(std::uint64_t end_nanoseconds, std::size_t bins, std::size_t series);

  /// Times that go back count as the latest one, times behind the end as the end.
  void add(std::uint64_t nanoseconds, std::size_t series, double bytes);
  void subtract(std::uint64_t nanoseconds, std::size_t series, double bytes);
  /// The rest of the time passes; nothing may be added any more.
  void finish();

  [[nodiscard]] std::size_t bins() const noexcept { return bins_; }
  [[nodiscard]] std::uint64_t bin_nanoseconds() const noexcept { return bin_nanoseconds_; }
  /// Of a series, bin by bin; the first bin comes first.
  [[nodiscard]] std::vector<double> series(std::size_t number) const;

 private:
  void go_to(std::uint64_t nanoseconds);
  void go_to_bin(std::size_t bin);
  void keep_if_highest();

  std::size_t bins_;
  std::size_t series_;
  std::uint64_t bin_nanoseconds_;
  std::size_t bin_ = 0;
  double total_ = 0;
  double highest_ = -1;  // Of what was kept in this bin; less than any total: nothing was.
  std::vector<double> now_;
  std::vector<double> kept_;  // Bin by bin, all series of each.
};

}  // namespace cistern::tool
