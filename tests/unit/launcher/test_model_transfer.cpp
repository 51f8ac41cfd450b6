// What an import or export says of itself.
#include <doctest/doctest.h>

#include <vector>

#include "launcher/model_transfer.h"

namespace llama_zero::test {

TEST_CASE("host memory is read from the lines of /proc/self/status") {
  const HostUsage usage = parse_host_usage(
      "Name:\tx\nVmPin:\t       2 kB\nRssAnon:\t    1024 kB\nRssFile:\t  999999 kB\nRssShmem:\t       8 kB\n");
  CHECK(usage == HostUsage{1024 * 1024, 8 * 1024, 2 * 1024});
  CHECK(parse_host_usage("nothing of it") == HostUsage{});
}

TEST_CASE("this process's anonymous memory grows by what it writes") {
  constexpr std::size_t kBytes = std::size_t{64} << 20U;
  const std::int64_t before = host_usage().anonymous;
  const std::vector<char> memory(kBytes, 1);
  const std::int64_t grown = host_usage().anonymous - before;
  // The kernel counts in batches of some pages for each thread, and frees of earlier tests may go back meanwhile.
  CHECK(grown > static_cast<std::int64_t>(kBytes) * 9 / 10);
  CHECK(memory[kBytes / 2] == 1);
}

TEST_CASE("a transfer is described by its rate and its memory beside the arena") {
  ModelTransfer transfer;
  transfer.bytes = 13'480'000'000;
  transfer.seconds = 8.0;
  transfer.highest = {310'000'000, 20'000'000, 0};
  CHECK(describe_rate(transfer) == "13.48 GB in 8.0 s (1.69 GB/s)");
  CHECK(describe_memory(transfer) == "host memory of a rank at most 0.31 GB anonymous, 0.02 GB shared, 0.00 GB pinned");
  transfer.arena_bytes = 250'000'000;
  CHECK(describe_memory(transfer).ends_with("0.00 GB pinned (its arena 0.25 GB)"));
}

}  // namespace llama_zero::test
