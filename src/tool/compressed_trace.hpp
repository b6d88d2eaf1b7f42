// compressed_trace: traces compressed by zstd, where the tools were built with it.
#pragma once

#include <cistern/adaptor/trace.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>

namespace cistern::tool {

/// What `source` has, decompressed if it begins as zstd's files do. Takes 128 MiB at most, whatever is in it.
/// The source throws `trace_error` where it is cut off, or isn't what zstd has written, with the offset in
/// the compressed bytes; and `std::runtime_error`, here, if it is compressed and there is no zstd.
[[nodiscard]] trace_source decompressed(trace_source source);

/// Whether the tools were built with zstd.
[[nodiscard]] bool can_compress() noexcept;

/// Compresses a file in its place: it is the one or the other at any time, also after a failure, which throws
/// `std::system_error` or `std::runtime_error`. `has_read` is told how many bytes of it were read, again and
/// again. Precondition: `can_compress()`.
void compress_in_place(const std::filesystem::path& path,
                       const std::function<void(std::uint64_t bytes)>& has_read);

}  // namespace cistern::tool
