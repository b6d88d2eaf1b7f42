#include "compressed_trace.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "file_beside.hpp"
#include "peeked_source.hpp"
#if CISTERN_HAS_ZSTD
#include <zstd.h>
#endif

namespace cistern::tool {
namespace {

constexpr std::size_t magic_bytes = 4;

/// A frame of zstd's; or one to be skipped, as some programs write first.
[[nodiscard]] bool is_compressed(std::span<const std::byte> first) {
  if (first.size() < magic_bytes) return false;
  std::uint32_t number = 0;
  for (std::size_t i = magic_bytes; i-- > 0;) number = number << 8U | static_cast<std::uint32_t>(first[i]);
  return number == 0xFD2FB528U || (number & 0xFFFFFFF0U) == 0x184D2A50U;
}

#if CISTERN_HAS_ZSTD

/// The largest window that is decompressed is that of zstd's own program.
constexpr int largest_window_bits = 27;

class zstd_reader {
 public:
  explicit zstd_reader(trace_source from)
      : from_(std::move(from)),
        stream_(ZSTD_createDStream(), ZSTD_freeDStream),
        input_(ZSTD_DStreamInSize()) {
    if (!stream_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, largest_window_bits);
  }

  /// As a `trace_source`.
  [[nodiscard]] std::size_t read(std::span<std::byte> into) {
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    while (out.pos == 0 && !into.empty()) {
      if (waiting_.pos == waiting_.size) refill();
      const bool at_end = waiting_.size == 0;
      if (at_end && !in_frame_) return 0;
      const std::size_t result = ZSTD_decompressStream(stream_.get(), &out, &waiting_);
      if (ZSTD_isError(result) != 0) {
        throw trace_error(trace_fault::corrupt,
                          std::string("zstd: ") + ZSTD_getErrorName(result) + ", in what is compressed",
                          before_bytes_ + waiting_.pos);
      }
      in_frame_ = result != 0;
      if (at_end && in_frame_ && out.pos == 0) {
        throw trace_error(trace_fault::truncated, "end of what is compressed", before_bytes_);
      }
    }
    return out.pos;
  }

 private:
  void refill() {
    before_bytes_ += waiting_.size;
    waiting_ = {input_.data(), from_(input_), 0};
  }

  trace_source from_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<std::byte> input_;
  ZSTD_inBuffer waiting_{nullptr, 0, 0};
  std::uint64_t before_bytes_ = 0;  // Of the input, before what is waiting.
  bool in_frame_ = false;           // One has begun, and hasn't ended.
};

[[nodiscard]] std::size_t checked(std::size_t result) {
  if (ZSTD_isError(result) != 0) throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(result));
  return result;
}

void compress(const trace_source& from, const trace_sink& to,
              const std::function<void(std::uint64_t)>& has_read) {
  const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> stream(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (!stream) throw std::bad_alloc();
  (void)checked(ZSTD_CCtx_setParameter(stream.get(), ZSTD_c_checksumFlag, 1));
  std::vector<std::byte> input(ZSTD_CStreamInSize());
  std::vector<std::byte> output(ZSTD_CStreamOutSize());
  std::uint64_t read_bytes = 0;
  for (bool at_end = false; !at_end;) {
    ZSTD_inBuffer in{input.data(), from(input), 0};
    has_read(read_bytes += in.size);
    at_end = in.size == 0;
    for (std::size_t left = 1; left != 0 && (at_end || in.pos < in.size);) {
      ZSTD_outBuffer out{output.data(), output.size(), 0};
      left = checked(ZSTD_compressStream2(stream.get(), &out, &in, at_end ? ZSTD_e_end : ZSTD_e_continue));
      if (out.pos != 0) to(std::span(output).first(out.pos));
      if (!at_end) left = 1;  // It keeps some for later.
    }
  }
}

#endif

}  // namespace

trace_source decompressed(trace_source source) {
  peeked_source peeked = peek(std::move(source), magic_bytes);
  if (!is_compressed(peeked.first)) return std::move(peeked.whole);
#if CISTERN_HAS_ZSTD
  return [reader = std::make_shared<zstd_reader>(std::move(peeked.whole))](std::span<std::byte> into) {
    return reader->read(into);
  };
#else
  throw std::runtime_error(
      "the trace is compressed, and this program was built without zstd: decompress it by zstd -d");
#endif
}

bool can_compress() noexcept {
  return CISTERN_HAS_ZSTD != 0;
}

void compress_in_place(const std::filesystem::path& path,
                       const std::function<void(std::uint64_t bytes)>& has_read) {
#if CISTERN_HAS_ZSTD
  file_beside part(path);
  compress(trace_from_file(path), trace_to_file(part.path()), has_read);
  part.take_place();
#else
  (void)has_read;
  throw std::runtime_error(path.string() + " isn't compressed: there is no zstd");
#endif
}

}  // namespace cistern::tool
