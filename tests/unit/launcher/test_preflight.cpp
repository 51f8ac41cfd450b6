#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "launcher/preflight.h"
#include "tests/support/temporary_folder.h"

namespace llama_zero::test {
namespace {

constexpr std::size_t kMb = std::size_t{1} << 20U;
constexpr std::size_t kGb = std::size_t{1} << 30U;

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

HostFacts roomy() {
  HostFacts facts;
  facts.available = 100 * kGb;
  facts.shared_memory = 8 * kGb;
  facts.disk = 100 * kGb;
  return facts;
}

HostNeeds small_run() {
  HostNeeds needs;
  needs.ranks = 2;
  needs.memory = 4 * kGb;
  needs.pinned = 32 * kMb;
  needs.writes = true;
  needs.disk = {2 * kGb, 1 * kGb, 3, 2, true};
  needs.folder = "runs/x";
  return needs;
}

std::string only(const std::vector<std::string>& lines) {
  REQUIRE(lines.size() == 1);
  return lines[0];
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a host with room passes preflight without a word") {
  const Findings findings = check_host(roomy(), small_run());
  CHECK(findings.refusals.empty());
  CHECK(findings.warnings.empty());
}

TEST_CASE("a cgroup's limit refuses, available memory only warns; each at one byte too many") {
  HostFacts facts = roomy();
  facts.cgroup = CgroupMemory{5 * kGb, 1 * kGb};
  CHECK(check_host(facts, small_run()).refusals.empty());
  facts.cgroup->used += 1;
  facts.available = 1;  // the refusal says it all
  Findings findings = check_host(facts, small_run());
  CHECK(findings.warnings.empty());
  const std::string refusal = only(findings.refusals);
  CHECK(contains(refusal, "the 2 ranks of this host need 4.00 GB"));
  CHECK(contains(refusal, "the cgroup's limit of 5.00 GB leaves 4.00 GB"));
  CHECK(contains(refusal, "docker run --memory"));

  facts = roomy();
  facts.available = 4 * kGb;
  CHECK(check_host(facts, small_run()).warnings.empty());
  facts.available = 4 * kGb - 1;
  findings = check_host(facts, small_run());
  CHECK(findings.refusals.empty());
  CHECK(contains(only(findings.warnings), "MemAvailable"));
}

TEST_CASE("too little to page-lock and a small /dev/shm warn with the fix") {
  HostFacts facts = roomy();
  facts.memlock = 32 * kMb;
  facts.shared_memory = 64 * kMb;
  CHECK(check_host(facts, small_run()).warnings.empty());
  facts.memlock = 8 * kMb;
  CHECK(contains(only(check_host(facts, small_run()).warnings), "RLIMIT_MEMLOCK is 8.00 MB; ulimit -l unlimited"));
  facts.memlock.reset();
  facts.shared_memory = 63 * kMb;
  const std::string warning = only(check_host(facts, small_run()).warnings);
  CHECK(contains(warning, "want 64.00 MB for NCCL and MPI, but 63.00 MB is free"));
  CHECK(contains(warning, "--shm-size"));
  facts.shared_memory.reset();  // not mounted
  CHECK(check_host(facts, small_run()).warnings.size() == 1);
  HostNeeds alone = small_run();
  alone.ranks = 1;
  CHECK(check_host(facts, alone).warnings.empty());
}

TEST_CASE("what is certainly written refuses a disk, what time decides about only warns") {
  HostFacts facts = roomy();
  facts.disk = 6 * kGb;
  CHECK(check_host(facts, small_run()).refusals.empty());
  facts.disk = 6 * kGb - 1;
  const std::string refusal = only(check_host(facts, small_run()).refusals);
  CHECK(contains(refusal, "the run writes 6.00 GB (3 checkpoints of 2.00 GB at once, a final model of 1.00 GB)"));
  CHECK(contains(refusal, "runs/x has 6.00 GB free"));
  CHECK(contains(refusal, "--keep"));

  HostNeeds by_time = small_run();
  by_time.disk.certain = false;
  Findings findings = check_host(facts, by_time);
  CHECK(findings.refusals.empty());
  CHECK(contains(only(findings.warnings), "the run may write 6.00 GB"));
  facts.disk = 1 * kGb - 1;
  findings = check_host(facts, by_time);
  CHECK(findings.warnings.empty());
  CHECK(contains(only(findings.refusals), "the run writes 1.00 GB (a final model of 1.00 GB)"));

  by_time.writes = false;
  findings = check_host(facts, by_time);
  CHECK(findings.refusals.empty());
}

TEST_CASE("the newest checkpoint is complete before the oldest goes, and the final model comes after both") {
  const SaveInterval every_ten{10, 0.0};
  struct Case {
    std::int64_t first, last, keep, present, checkpoints, kept;
  };
  for (const Case& c :
       {Case{0, 100, 2, 0, 3, 2}, Case{0, 25, 2, 0, 2, 2}, Case{0, 9, 2, 0, 0, 0}, Case{0, 100, 0, 0, 10, 10},
        Case{50, 100, 2, 2, 1, 0}, Case{50, 100, 2, 1, 2, 1}, Case{95, 100, 1, 3, 1, 0}, Case{100, 100, 2, 0, 0, 0}}) {
    CAPTURE(c.first);
    CAPTURE(c.last);
    const DiskNeeds needs = disk_needs(10, 4, every_ten, c.first, c.last, c.keep, c.present);
    CHECK(needs.checkpoints == c.checkpoints);
    CHECK(needs.kept == c.kept);
    CHECK(needs.certain);
  }
  CHECK(disk_needs(10, 4, every_ten, 0, 100, 2, 0).peak() == 30);
  CHECK(disk_needs(10, 4, every_ten, 0, 20, 2, 0).peak() == 24);
  CHECK(disk_needs(10, 4, {}, 0, 100, 2, 0).peak() == 4);
  const DiskNeeds by_time = disk_needs(10, 4, {0, 60.0}, 0, 100, 2, 0);
  CHECK(by_time.peak() == 30);
  CHECK_FALSE(by_time.certain);
}

TEST_CASE("the tightest cgroup counts, of either version, without its page cache") {
  const TemporaryFolder folder;
  const fs::path& root = folder.path();
  CHECK_FALSE(cgroup_memory(root));
  put(root / "proc/self/cgroup", "4:cpu,memory:/job/task\n1:name=systemd:/\n0::/job/leaf\n");
  CHECK_FALSE(cgroup_memory(root));
  const fs::path v2 = root / "sys/fs/cgroup";
  put(v2 / "job/leaf/memory.max", "max\n");
  put(v2 / "job/memory.max", "1000\n");
  put(v2 / "job/memory.current", "700\n");
  put(v2 / "job/memory.stat", "anon 100\ninactive_file 300\nactive_file 200\nactive_file_x 9\n");
  auto found = cgroup_memory(root);
  REQUIRE(found);
  CHECK(found->limit == 1000);
  CHECK(found->used == 200);
  CHECK(found->free() == 800);
  const fs::path v1 = root / "sys/fs/cgroup/memory";
  put(v1 / "memory.limit_in_bytes", "9223372036854771712\n");
  put(v1 / "job/task/memory.limit_in_bytes", "600\n");
  put(v1 / "job/task/memory.usage_in_bytes", "500\n");
  put(v1 / "job/task/memory.stat", "cache 400\ntotal_inactive_file 100\ntotal_active_file 50\n");
  found = cgroup_memory(root);
  REQUIRE(found);
  CHECK(found->limit == 600);
  CHECK(found->free() == 250);
}

TEST_CASE("facts of a host come from its files; a folder yet to be made is measured where it will lie") {
  const TemporaryFolder folder;
  const fs::path& root = folder.path();
  put(root / "proc/meminfo", "MemTotal:  2000 kB\nMemAvailable:    1000 kB\n");
  put(root / "memlock", "65536\n");
  put(root / "shm", "4096\n");
  HostFacts facts = read_host_facts(root, folder / "not/yet/there");
  CHECK(facts.available == 1000 * 1024);
  CHECK(facts.memlock == 65536);
  CHECK(facts.shared_memory == 4096);
  CHECK(facts.disk.value_or(0) > 0);
  put(root / "disk", "12345\n");
  CHECK(read_host_facts(root, "x").disk == 12345);
  facts = read_host_facts("/", folder.path());
  CHECK(facts.available.value_or(0) > 0);
}

}  // namespace llama_zero::test
