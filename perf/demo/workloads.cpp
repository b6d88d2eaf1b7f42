#include "demo/workloads.hpp"

#include <algorithm>
#include <memory>
#include <ostream>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "demo/corpus.hpp"
#include "demo/message_traffic.hpp"
#include "demo/never_frees.hpp"
#include "demo/word_index.hpp"
#include "support/keep.hpp"
#include "support/process.hpp"

namespace demo {
namespace {

constexpr std::size_t most_bytes = std::size_t{8} << 20U;

/// What is read, and what its index must say.
struct text_to_index {
  explicit text_to_index(const std::filesystem::path& folder) : input(read_corpus(folder, most_bytes)) {}

  /// The first pass on so many threads brings their stacks in, too, which are in nobody's figures then.
  void prepare(std::size_t threads) {
    if (expected.words != 0) return;
    expected = index_words(input, std::pmr::new_delete_resource(), 1);
    index(std::pmr::new_delete_resource(), threads);
  }

  void index(std::pmr::memory_resource* resource, std::size_t threads) const {
    if (index_words(input, resource, threads) != expected) throw std::runtime_error("the indexes differ");
    if (auto* floor = dynamic_cast<never_frees*>(resource); floor != nullptr) floor->rewind();
  }

  corpus input;
  index_digest expected = {};
};

perf::workload index_on(std::size_t threads, const std::shared_ptr<text_to_index>& text) {
  const corpus& input = text->input;
  return {.name = "index/" + std::to_string(threads),
          .operation = std::to_string(input.texts.size()) + " files, " + std::to_string(input.bytes >> 10U) +
                       " KiB" + (input.cut_off ? " (all that fit into 8 MiB)" : ""),
          .threads = threads == 1 ? 0 : static_cast<unsigned>(threads),
          .area = "demo",
          .rewinds = true,
          .run =
              [=](benchmark::State& state, std::pmr::memory_resource* resource) {
                perf::time_batches(state, 1, [&] { text->index(resource, threads); });
                state.counters["words"] = static_cast<double>(text->expected.words);
                state.counters["occurrences"] = static_cast<double>(text->expected.occurrences);
              },
          .hold =
              [=](const perf::resource_maker& make, const perf::settled_hook& settled) {
                const auto resource = make();
                text->index(perf::hide(resource.get()), threads);
                settled(resource.get());
              },
          .prepare = [=] { text->prepare(threads); }};
}

}  // namespace

std::vector<perf::workload> index_workloads(const std::filesystem::path& folder) {
  const auto text = std::make_shared<text_to_index>(folder);
  std::vector<perf::workload> all;
  for (const std::size_t threads :
       std::set<std::size_t>{1, std::max(1U, std::thread::hardware_concurrency())}) {
    all.push_back(index_on(threads, text));
  }
  return all;
}

void print_traffic(std::ostream& out, const perf::contestant& who) {
  const std::size_t before = perf::resident_bytes();
  const auto held_bytes = [before] { return std::max(perf::resident_bytes(), before) - before; };
  const auto resource = who.make(0);
  const traffic_result run = run_traffic(perf::hide(resource.get()), held_bytes);
  who.give_back(*resource);
  out << run.processor_seconds << ' ' << run.checksum << ' ' << run.messages << ' ' << held_bytes() << '\n';
  for (const traffic_sample& each : run.samples) out << each.live_bytes << ' ' << each.held_bytes << '\n';
}

}  // namespace demo
