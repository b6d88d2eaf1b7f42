// Text forms of pool_statistics: a table for people, JSON for programs, OpenMetrics for monitoring.
#include <cistern/pool_statistics.hpp>

#include <ostream>

#include "../base/statistics_text.hpp"

namespace cistern {

namespace {

using detail::figure;
using detail::in_binary_units;
using detail::percentage;
using detail::text_table;
using detail::with_thousands;

[[nodiscard]] std::vector<figure> byte_gauges(const pool_statistics& s) {
  return {
      {"in_use_bytes", "in use", "Blocks in the hands of users, at their block size.", s.in_use_bytes},
      {"idle_bytes", "idle", "Memory that could be handed out without asking upstream.", s.idle_bytes},
      {"idle_in_lists_bytes", "  in lists", "Free blocks that are at hand.", s.idle_in_lists_bytes},
      {"idle_in_caches_bytes", "  in caches", "Free blocks in the caches of threads.",
       s.idle_in_caches_bytes},
      {"idle_in_spans_bytes", "  in spans", "Beside blocks that are out, for one size.",
       s.idle_in_spans_bytes},
      {"idle_in_pages_bytes", "  in pages", "For any size, in regions in use.", s.idle_in_pages_bytes},
      {"idle_in_regions_bytes", "  in regions", "Regions without a page in use.", s.idle_in_regions_bytes},
      {"idle_untouched_bytes", "    untouched", "Free pages that take no memory of the system.",
       s.idle_untouched_bytes},
      {"overhead_bytes", "overhead", "The pool's own records.", s.overhead_bytes},
      {"upstream_bytes", "held from upstream", "All bytes held from upstream.", s.upstream_bytes},
      {"peak_upstream_bytes", "peak", "The most bytes ever held from upstream.", s.peak_upstream_bytes}};
}

[[nodiscard]] std::vector<figure> upstream_counters(const pool_statistics& s) {
  return {{"upstream_allocations", "upstream allocations", "Successful allocations from upstream.",
           s.upstream_allocations},
          {"upstream_deallocations", "upstream deallocations", "Deallocations to upstream.",
           s.upstream_deallocations}};
}

[[nodiscard]] std::vector<figure> byte_counters(const pool_statistics& s) {
  return {{"given_back_idle_bytes", "given back: idle", "Bytes given back as more was idle than may be.",
           s.given_back_idle_bytes},
          {"given_back_trim_bytes", "given back: trim", "Bytes given back by trim.", s.given_back_trim_bytes},
          {"given_back_need_bytes", "given back: need", "Bytes given back lest a request be refused.",
           s.given_back_need_bytes},
          {"discarded_bytes", "discarded pages", "Bytes of free pages whose memory the system got back.",
           s.discarded_bytes}};
}

[[nodiscard]] bool was_used(const oversize_statistics& oversize) {
  return oversize.allocations != 0 || oversize.deallocations != 0;
}

[[nodiscard]] std::string totals_table(const pool_statistics& s) {
  text_table table(text_table::first_column::left);
  const auto add_bytes = [&](const char* name, std::uint64_t bytes) {
    table.add_row({name, with_thousands(bytes), "B", bytes < 1024 ? "" : "(" + in_binary_units(bytes) + ")"});
  };
  for (const figure& one : byte_gauges(s)) {
    add_bytes(one.name, one.value);
    if (one.key == std::string_view("in_use_bytes") && was_used(s.oversize)) {
      add_bytes("  of which oversize", s.oversize.live_bytes);
    }
  }
  for (const figure& one : upstream_counters(s)) table.add_row({one.name, with_thousands(one.value)});
  for (const figure& one : byte_counters(s)) add_bytes(one.name, one.value);
  return table.text();
}

// No hits at all may also mean that operations aren't counted, so it isn't called a rate of zero.
[[nodiscard]] std::string hit_rate(const bucket_statistics& bucket) {
  return bucket.hits == 0 ? "-" : percentage(bucket.hits, bucket.hits + bucket.misses);
}

void add_oversize_row(text_table& table, const oversize_statistics& oversize) {
  table.add_row({"oversize", with_thousands(oversize.live_blocks), "-", "-",
                 with_thousands(oversize.allocations), "-", "-", with_thousands(oversize.deallocations)});
}

[[nodiscard]] std::string buckets_table(const pool_statistics& s) {
  text_table table;
  table.add_row({"block", "live", "free", "hits", "misses", "hit rate", "returned", "discarded"});
  table.add_rule();
  for (const bucket_statistics& bucket : s.buckets) {
    table.add_row({in_binary_units(bucket.block_bytes), with_thousands(bucket.live_blocks),
                   with_thousands(bucket.depth), with_thousands(bucket.hits), with_thousands(bucket.misses),
                   hit_rate(bucket), with_thousands(bucket.returned), with_thousands(bucket.discarded)});
  }
  if (was_used(s.oversize)) add_oversize_row(table, s.oversize);
  return table.text();
}

[[nodiscard]] std::string bucket_json(const bucket_statistics& bucket) {
  return detail::json_object()
      .add("block_bytes", bucket.block_bytes)
      .add("hits", bucket.hits)
      .add("misses", bucket.misses)
      .add("returned", bucket.returned)
      .add("discarded", bucket.discarded)
      .add("depth", bucket.depth)
      .add("live_blocks", bucket.live_blocks)
      .text();
}

[[nodiscard]] std::string oversize_json(const oversize_statistics& oversize) {
  return detail::json_object()
      .add("allocations", oversize.allocations)
      .add("deallocations", oversize.deallocations)
      .add("live_blocks", oversize.live_blocks)
      .add("live_bytes", oversize.live_bytes)
      .text();
}

void add_oversize_metrics(detail::openmetrics_text& text, const oversize_statistics& oversize) {
  text.counter("cistern_pool_oversize_allocations", "Allocations that no bucket serves.");
  text.sample(oversize.allocations);
  text.counter("cistern_pool_oversize_deallocations", "Deallocations that no bucket serves.");
  text.sample(oversize.deallocations);
  text.gauge("cistern_pool_oversize_live_blocks", "blocks",
             "Blocks outside the buckets in the hands of users.");
  text.sample(oversize.live_blocks);
  text.gauge("cistern_pool_oversize_live_bytes", "bytes", "Bytes outside the buckets in the hands of users.");
  text.sample(oversize.live_bytes);
}

// One sample per bucket; the format wants all samples of a family together.
template <class Figure>
void add_bucket_samples(detail::openmetrics_text& text, const std::vector<bucket_statistics>& buckets,
                        Figure bucket_statistics::*figure) {
  for (const bucket_statistics& bucket : buckets) {
    text.sample(bucket.*figure, "block_bytes=\"" + std::to_string(bucket.block_bytes) + "\"");
  }
}

void add_bucket_metrics(detail::openmetrics_text& text, const std::vector<bucket_statistics>& buckets) {
  if (buckets.empty()) return;
  text.counter("cistern_pool_bucket_hits", "Allocations served from a free list.");
  add_bucket_samples(text, buckets, &bucket_statistics::hits);
  text.counter("cistern_pool_bucket_misses", "Allocations that took of a span, or of new memory.");
  add_bucket_samples(text, buckets, &bucket_statistics::misses);
  text.counter("cistern_pool_bucket_returned", "Deallocations that kept the block.");
  add_bucket_samples(text, buckets, &bucket_statistics::returned);
  text.counter("cistern_pool_bucket_discarded", "Deallocations that passed the block on to upstream.");
  add_bucket_samples(text, buckets, &bucket_statistics::discarded);
  text.gauge("cistern_pool_bucket_depth_blocks", "blocks",
             "Free blocks, in the pool and in its thread caches.");
  add_bucket_samples(text, buckets, &bucket_statistics::depth);
  text.gauge("cistern_pool_bucket_live_blocks", "blocks", "Blocks in the hands of users.");
  add_bucket_samples(text, buckets, &bucket_statistics::live_blocks);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const pool_statistics& statistics) {
  std::string text = totals_table(statistics);
  if (!statistics.buckets.empty() || was_used(statistics.oversize)) text += "\n" + buckets_table(statistics);
  out.width(0);  // A width meant for one field would only push the table aside.
  return out << text;
}

std::string to_json(const pool_statistics& statistics) {
  std::vector<std::string> buckets;
  buckets.reserve(statistics.buckets.size());
  for (const bucket_statistics& bucket : statistics.buckets) buckets.push_back(bucket_json(bucket));
  return detail::json_object()
      .add(byte_gauges(statistics))
      .add(upstream_counters(statistics))
      .add(byte_counters(statistics))
      .add_raw("buckets", detail::json_array(buckets))
      .add_raw("oversize", oversize_json(statistics.oversize))
      .text();
}

void add_openmetrics(detail::openmetrics_text& text, const pool_statistics& statistics,
                     std::string_view pool_name) {
  text.about("pool", "pool", pool_name);
  text.gauges("cistern_pool_", "bytes", byte_gauges(statistics));
  text.counters("cistern_pool_", upstream_counters(statistics));
  text.counters("cistern_pool_", byte_counters(statistics), "bytes");
  add_oversize_metrics(text, statistics.oversize);
  add_bucket_metrics(text, statistics.buckets);
}

std::string to_openmetrics(const pool_statistics& statistics, std::string_view pool_name) {
  detail::openmetrics_text text;
  add_openmetrics(text, statistics, pool_name);
  return std::move(text).finish();
}

}  // namespace cistern
