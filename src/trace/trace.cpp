#include <cistern/adaptor/trace.hpp>

#include <algorithm>
#include <cstring>
#include <istream>
#include <memory>
#include <ostream>

#include "trace_file.hpp"
#include <fcntl.h>

namespace cistern {
namespace {

[[nodiscard]] std::string message(trace_fault fault, const std::string& found, std::uint64_t offset_bytes) {
  return std::string("cistern trace: ") + to_string(fault) + ": " + found + " at byte " +
         std::to_string(offset_bytes);
}

}  // namespace

const char* to_string(trace_call call) noexcept {
  switch (call) {
    case trace_call::allocate:
      return "allocate";
    case trace_call::deallocate:
      return "deallocate";
    case trace_call::failed_allocate:
      return "failed_allocate";
    case trace_call::reallocate:
      return "reallocate";
  }
  return "unknown call";
}

const char* to_string(trace_ending ending) noexcept {
  switch (ending) {
    case trace_ending::closed:
      return "closed";
    case trace_ending::size_limit:
      return "size limit";
    case trace_ending::write_error:
      return "write error";
  }
  return "unknown ending";
}

const char* to_string(trace_fault fault) noexcept {
  switch (fault) {
    case trace_fault::not_a_trace:
      return "not a trace";
    case trace_fault::unknown_version:
      return "unknown version";
    case trace_fault::truncated:
      return "truncated";
    case trace_fault::corrupt:
      return "corrupt";
  }
  return "unknown fault";
}

trace_error::trace_error(trace_fault fault, const std::string& found, std::uint64_t offset_bytes)
    : std::runtime_error(message(fault, found, offset_bytes)), fault_(fault), offset_bytes_(offset_bytes) {}

trace_sink trace_to_file(const std::filesystem::path& path) {
  return detail::file_sink{std::make_shared<detail::trace_file>(path, O_WRONLY | O_CREAT | O_TRUNC)};
}

trace_sink trace_to_stream(std::ostream& out) {
  return [&out](std::span<const std::byte> bytes) {
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::ios_base::failure("cannot write the trace");
  };
}

trace_source trace_from_file(const std::filesystem::path& path) {
  return [file = std::make_shared<detail::trace_file>(path, O_RDONLY)](std::span<std::byte> into) {
    return file->read(into);
  };
}

trace_source trace_from_stream(std::istream& in) {
  return [&in](std::span<std::byte> into) {
    if (in.eof()) return std::size_t{0};
    in.read(reinterpret_cast<char*>(into.data()), static_cast<std::streamsize>(into.size()));
    if (in.bad() || (in.fail() && !in.eof())) throw std::ios_base::failure("cannot read the trace");
    return static_cast<std::size_t>(in.gcount());
  };
}

trace_source trace_from_memory(std::span<const std::byte> trace) {
  return [left = trace](std::span<std::byte> into) mutable {
    const std::size_t bytes = std::min(left.size(), into.size());
    if (bytes != 0) std::memcpy(into.data(), left.data(), bytes);
    left = left.subspan(bytes);
    return bytes;
  };
}

}  // namespace cistern
