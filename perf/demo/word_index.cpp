#include "demo/word_index.hpp"

#include <array>
#include <barrier>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace demo {
namespace {

struct place {
  std::uint32_t file;
  std::uint32_t line;
};

using part_index = std::pmr::unordered_map<std::pmr::string, std::pmr::vector<place>>;
using lines_by_file = std::pmr::map<std::uint32_t, std::pmr::vector<std::uint32_t>>;
using sorted_index = std::pmr::map<std::pmr::string, lines_by_file>;
using line_list = std::pmr::vector<std::pmr::string>;

bool in_word(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_';
}

template <class Visit>
void for_each_word(std::string_view line, Visit visit) {
  for (std::size_t start = 0; start < line.size();) {
    if (!in_word(line[start])) {
      ++start;
      continue;
    }
    std::size_t end = start + 1;
    while (end < line.size() && in_word(line[end])) ++end;
    visit(line.substr(start, end - start));
    start = end;
  }
}

line_list split_lines(std::string_view text, std::pmr::memory_resource* resource) {
  line_list lines(resource);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

void add_file(part_index& index, std::string_view text, std::uint32_t file) {
  std::pmr::memory_resource* resource = index.get_allocator().resource();
  std::uint32_t line_number = 0;
  for (const auto& line : split_lines(text, resource)) {
    ++line_number;
    for_each_word(line, [&](std::string_view word) {
      index[std::pmr::string(word, resource)].push_back({file, line_number});
    });
  }
}

/// The same on every machine, unlike std::hash.
std::uint64_t fnv(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3U;
  return hash;
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x100000001B3U;
}

index_digest digest_of(const sorted_index& index) {
  index_digest digest;
  for (const auto& [word, files] : index) {
    std::uint64_t hash = fnv(word);
    for (const auto& [file, lines] : files) {
      hash = mixed(hash, file);
      for (const std::uint32_t line : lines) hash = mixed(hash, line);
      digest.occurrences += lines.size();
    }
    digest.checksum += hash;
    digest.words += 1;
  }
  return digest;
}

/// Every word is looked up by a string of its own, every third one also as a prefix of up to four letters.
std::uint64_t query(const sorted_index& index, std::pmr::memory_resource* resource) {
  std::uint64_t found = 0;
  std::size_t number = 0;
  for (const auto& [word, files] : index) {
    const std::pmr::string wanted(word, resource);
    found += index.find(wanted)->second.size();
    if (++number % 3 != 0) continue;
    const std::pmr::string prefix(word, 0, 4, resource);
    // At most ten of them: what a completion list shows.
    auto next = index.lower_bound(prefix);
    for (int shown = 0; shown < 10 && next != index.end() && next->first.starts_with(prefix); ++shown) {
      ++next;
    }
  }
  return found;
}

class indexing {
 public:
  indexing(const corpus& input, std::pmr::memory_resource* resource, std::size_t threads)
      : input_(input),
        resource_(resource),
        threads_(threads),
        parts_(threads),
        digests_(threads),
        step_(static_cast<std::ptrdiff_t>(threads)) {}

  index_digest run() {
    {
      std::vector<std::jthread> team;
      for (std::size_t thread = 1; thread < threads_; ++thread) {
        team.emplace_back([this, thread] { work(thread); });
      }
      work(0);
    }
    index_digest sum;
    for (const index_digest& one : digests_) {
      sum.words += one.words;
      sum.occurrences += one.occurrences;
      sum.found += one.found;
      sum.checksum += one.checksum;
    }
    return sum;
  }

 private:
  void work(std::size_t thread) {
    build(thread);
    step_.arrive_and_wait();  // all parts are built
    {
      sorted_index index(resource_);
      merge(thread, index);
      digests_[thread] = digest_of(index);
      digests_[thread].found = query(index, resource_);
      step_.arrive_and_wait();  // all merged: nobody reads the parts any more
    }
    parts_[(thread + 1) % threads_].reset();
  }

  /// Files from `first` up to the next thread's first: neighbours in the list, so that a merge in order of
  /// threads keeps the files in order.
  [[nodiscard]] std::size_t first_file(std::size_t thread) const {
    return input_.texts.size() * thread / threads_;
  }

  void build(std::size_t thread) {
    part_index& part = parts_[thread].emplace(resource_);
    for (std::size_t file = first_file(thread); file < first_file(thread + 1); ++file) {
      add_file(part, input_.texts[file], static_cast<std::uint32_t>(file));
    }
  }

  void merge(std::size_t thread, sorted_index& index) const {
    for (const auto& part : parts_) {
      for (const auto& [word, entries] : *part) {
        if (threads_ > 1 && fnv(word) % threads_ != thread) continue;
        lines_by_file& files = index[word];
        for (const place& entry : entries) files[entry.file].push_back(entry.line);
      }
    }
  }

  const corpus& input_;
  std::pmr::memory_resource* resource_;
  std::size_t threads_;
  std::vector<std::optional<part_index>> parts_;
  std::vector<index_digest> digests_;
  std::barrier<> step_;
};

}  // namespace

index_digest index_words(const corpus& input, std::pmr::memory_resource* resource, std::size_t threads) {
  return indexing(input, resource, threads).run();
}

}  // namespace demo
