// Runs a program of bytes on two cistern::chains and on two strings, and demands the same of both.
#pragma once

#include <cistern/chain.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "program_bytes.hpp"
#include <sys/uio.h>

namespace cistern::test_support {

/// A chain beside what it means: its bytes, and what stands in its prepared region.
struct modelled_chain {
  chain real;
  std::string text;
  std::optional<std::string> prepared;
  std::span<std::byte> region;

  void end_prepared() { prepared.reset(), region = {}; }
  /// What `splice` and `prepend` promise for prepared regions.
  void take_prepared(modelled_chain& other) {
    if (!prepared) prepared = other.prepared, region = other.region;
    other.end_prepared();
  }
};

/// What a run has come across, so that a test can demand that it came across everything.
struct chain_coverage {
  std::size_t operations = 0;
  std::size_t commits = 0;
  std::size_t commits_behind_others = 0;  ///< Something was appended between prepare and commit.
  std::size_t refused_commits = 0;
  std::size_t regions_moved = 0;       ///< From one chain to the other.
  std::size_t splits_at_prepared = 0;  ///< All bytes in front of a prepared region were cut off.
};

/// One run. Throws std::logic_error where chain and model differ.
class chain_model_run {
 public:
  chain_model_run(std::span<const std::uint8_t> program, std::pmr::memory_resource* first,
                  std::pmr::memory_resource* second)
      : program_(program),
        chains_{modelled_chain{chain(first, {.block_bytes = 256 + take() % 128U * 8}), {}, {}, {}},
                modelled_chain{chain(second, {.block_bytes = 256 + take() % 128U * 8}), {}, {}, {}}} {}

  const chain_coverage& run() {
    while (!program_.empty()) {
      const std::uint8_t operation = take();
      step(operation, chains_[operation >> 7], chains_[(operation >> 7) ^ 1]);
      ++coverage_.operations;
      for (const modelled_chain& c : chains_) check(c);
    }
    return coverage_;
  }

 private:
  static constexpr std::size_t largest_piece = 1'500;
  static constexpr std::size_t largest_total = 50'000;  // so that a fuzzer's runs stay short

  static void demand(bool condition, const char* what) {
    if (!condition) throw std::logic_error(std::string("chain and model differ: ") + what);
  }
  static std::string_view view(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  static void check(const modelled_chain& c) {
    demand(c.real.check_invariants(), "invariants");
    std::string text;
    c.real.for_each([&](std::span<const std::byte> piece) { text += view(piece); });
    demand(text == c.text, "bytes");
    demand(c.real.size() == c.text.size() && c.real.empty() == c.text.empty(), "size");
    demand(c.text.substr(0, c.real.front().size()) == view(c.real.front()), "front");
    demand(!c.prepared || view(c.region) == *c.prepared, "somebody wrote into the prepared region");
  }

  std::uint8_t take() { return program_.byte(); }
  std::size_t take_size() { return program_.word() % largest_piece; }
  std::string take_text() {
    const std::size_t n = take_size();
    const std::uint8_t seed = take();
    std::string text(n, '\0');
    for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>(seed + i * 7 + i / 16);
    return text;
  }

  void step(std::uint8_t operation, modelled_chain& c, modelled_chain& other) {
    if (c.text.size() > largest_total) consume(c, c.text.size() / 2);
    switch (operation % 16) {
      case 0:
        return append(c, take_text());
      case 1:
        return append_own(c);
      case 2:
        return prepend(c, take_text());
      case 3:
      case 4:
        return prepare(c);
      case 5:
      case 6:
        return commit(c, take_size());
      case 7:
        return adopt(c);
      case 8:
        return splice(c, other);
      case 9:
        return prepend_chain(c, other);
      case 10:
        return split(c, other);
      case 11:
        return consume(c, take_size());
      case 12:
        return take() < 32 ? clear(c) : shrink(c);
      case 13:
        return move_about(c, other);
      case 14:
        return read_out(c);
      default:
        return commit(c, c.prepared ? take_size() % (c.prepared->size() + 1) : 0);
    }
  }

  // The operations, on the chain and on the model.

  static void append(modelled_chain& c, const std::string& text) {
    c.real.append(text);
    c.text += text;
  }
  static void append_own(modelled_chain& c) {
    const auto piece = c.real.front();
    const std::string text(view(piece));
    c.real.append(piece);
    c.text += text;
  }
  static void prepend(modelled_chain& c, const std::string& text) {
    c.real.prepend(text);
    c.text.insert(0, text);
  }
  void prepare(modelled_chain& c) {
    const std::string text = take_text();
    c.end_prepared();
    c.region = c.real.prepare(text.size());
    demand(c.region.size() == text.size(), "prepare");
    if (text.empty()) return c.end_prepared();  // a region of nothing is none
    std::memcpy(c.region.data(), text.data(), text.size());
    c.prepared = text;
    size_when_prepared_ = c.text.size();
  }
  void commit(modelled_chain& c, std::size_t n) {
    const std::size_t prepared = c.prepared ? c.prepared->size() : 0;
    bool refused = false;
    try {
      c.real.commit(n);
    } catch (const std::logic_error&) {
      refused = true;
    }
    demand(refused == (n > prepared), "commit and what was prepared");
    if (refused) {
      ++coverage_.refused_commits;
      return;
    }
    if (n != 0) {
      c.text += c.prepared->substr(0, n);
      ++coverage_.commits;
      coverage_.commits_behind_others += c.text.size() > size_when_prepared_ + n ? 1U : 0U;
    }
    c.end_prepared();
  }
  void adopt(modelled_chain& c) {
    const std::string text = take_text();
    buffer source(take() < 128 ? c.real.get_allocator().resource() : nullptr);
    source.reserve_more(take() * std::size_t{32});
    source.append(text);
    const std::size_t read = take() % (text.size() + 1);
    source.consume(read);
    c.real.adopt(std::move(source));
    demand(
        source.empty() && (text.size() == read || source.capacity() == 0),  // NOLINT(bugprone-use-after-move)
        "an adopted buffer holds bytes");
    c.text += text.substr(read);
  }
  void splice(modelled_chain& c, modelled_chain& other) {
    count_moved_region(c, other);
    c.real.splice(std::move(other.real));
    c.text += std::exchange(other.text, {});
    c.take_prepared(other);
  }
  void prepend_chain(modelled_chain& c, modelled_chain& other) {
    count_moved_region(c, other);
    c.real.prepend(std::move(other.real));
    c.text.insert(0, std::exchange(other.text, {}));
    c.take_prepared(other);
  }
  void count_moved_region(const modelled_chain& c, const modelled_chain& other) {
    coverage_.regions_moved += !c.prepared && other.prepared ? 1U : 0U;
  }
  void split(modelled_chain& c, modelled_chain& other) {
    const std::size_t n = take() < 64 ? c.text.size() : take_size();
    const std::string front_text = c.text.substr(0, n);
    coverage_.splits_at_prepared += c.prepared && !c.text.empty() && n >= c.text.size() ? 1U : 0U;
    chain front = c.real.split(n);
    c.text.erase(0, n);
    check(c);
    demand(front.options() == c.real.options(), "options of what was split off");
    switch (take() % 3) {
      case 0:  // to the other chain
        other.real = std::move(front);
        other.text = front_text;
        return other.end_prepared();
      case 1:  // back to where it was
        c.real.prepend(std::move(front));
        break;
      default:  // the same the other way round
        front.splice(std::move(c.real));
        c.real = std::move(front);
    }
    c.text.insert(0, front_text);
  }
  static void consume(modelled_chain& c, std::size_t n) {
    c.real.consume(n);
    c.text.erase(0, n);
  }
  static void clear(modelled_chain& c) {
    c.real.clear();
    c.text.clear();
    c.end_prepared();
  }
  static void shrink(modelled_chain& c) {
    c.real.shrink_to_fit();
    c.end_prepared();
  }
  static void move_about(modelled_chain& c, modelled_chain& other) {
    chain moved(std::move(c.real), other.real.get_allocator());
    moved.swap(other.real);
    c.real = std::move(moved);
    std::swap(c.text, other.text);
    std::swap(c.prepared, other.prepared);
    std::swap(c.region, other.region);
  }
  void read_out(const modelled_chain& c) {
    std::string out(take_size(), '\0');
    out.resize(c.real.copy_to(std::as_writable_bytes(std::span(out.data(), out.size()))));
    demand(c.text.compare(0, out.size(), out) == 0, "copy_to");
    demand(c.real.flatten().view() == c.text, "flatten");
    std::array<iovec, 4> vectors;
    const std::size_t count = c.real.vectors(vectors);
    demand(count == std::min(vectors.size(), c.real.block_count()), "vectors");
  }

  program_bytes program_;
  std::array<modelled_chain, 2> chains_;
  std::size_t size_when_prepared_ = 0;
  chain_coverage coverage_;
};

}  // namespace cistern::test_support
