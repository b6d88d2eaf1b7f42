#include "live_curve.hpp"

#include <cistern/detail/base/assert.hpp>

#include <algorithm>

namespace cistern::tool {

live_curve::live_curve(std::uint64_t end_nanoseconds, std::size_t bins, std::size_t series)
    : bins_(bins),
      series_(series),
      bin_nanoseconds_(bins == 0 ? 1 : end_nanoseconds / bins + 1),
      now_(series),
      kept_(bins * series) {
  CISTERN_EXPECTS(bins != 0 && series != 0, "live_curve needs bins and series", bins);
}

void live_curve::add(std::uint64_t nanoseconds, std::size_t series, double bytes) {
  go_to(nanoseconds);
  now_[series] += bytes;
  total_ += bytes;
}

void live_curve::subtract(std::uint64_t nanoseconds, std::size_t series, double bytes) {
  go_to(nanoseconds);
  keep_if_highest();  // While it grows nothing is kept: what matters is where it turns.
  now_[series] = std::max(0.0, now_[series] - bytes);
  total_ = std::max(0.0, total_ - bytes);
}

void live_curve::finish() {
  go_to_bin(bins_ - 1);
  keep_if_highest();
}

std::vector<double> live_curve::series(std::size_t number) const {
  std::vector<double> values(bins_);
  for (std::size_t bin = 0; bin < bins_; ++bin) values[bin] = kept_[bin * series_ + number];
  return values;
}

void live_curve::go_to(std::uint64_t nanoseconds) {
  go_to_bin(static_cast<std::size_t>(std::min<std::uint64_t>(nanoseconds / bin_nanoseconds_, bins_ - 1)));
}

void live_curve::go_to_bin(std::size_t bin) {
  while (bin_ < bin) {
    keep_if_highest();
    ++bin_;
    highest_ = -1;
    keep_if_highest();
  }
}

void live_curve::keep_if_highest() {
  if (total_ <= highest_) return;
  highest_ = total_;
  std::copy(now_.begin(), now_.end(), kept_.begin() + static_cast<std::ptrdiff_t>(bin_ * series_));
}

}  // namespace cistern::tool
