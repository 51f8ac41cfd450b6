#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "core/error.h"
#include "launcher/monitor/append_file.h"
#include "launcher/monitor/event_record.h"
#include "launcher/monitor/scalar_writer.h"

namespace llama_zero {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::int64_t kMostSeconds = 9'999'999'999;  // the ten digits of a name

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string event_file_name(std::int64_t seconds) {
  return fmt::format("{}{:010}.{}.{}.0", kPrefix, seconds, host_name(), ::getpid());
}

// TensorBoard takes a file for an event file when its name holds "tfevents", and reads files of a folder in the order
// of their names: seconds come first. The process number keeps runs that start in the same second apart.
fs::path event_file(const fs::path& folder) {
  return folder / event_file_name(static_cast<std::int64_t>(wall_seconds()));
}

/// The seconds in the name of an event file; 0 for another file.
std::int64_t seconds_of(std::string_view name) {
  std::int64_t seconds = 0;
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  return std::from_chars(name.data(), name.data() + name.size(), seconds).ec == std::errc() ? seconds : 0;
}

// A resumed run's file must be read last: clocks differ between hosts, and a run may start within the second in which
// the one before it began.
fs::path last_event_file(const fs::path& folder) {
  auto seconds = static_cast<std::int64_t>(wall_seconds());
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::int64_t taken = seconds_of(entry->path().filename().string());
    if (taken < kMostSeconds) seconds = std::max(seconds, taken + 1);
  }
  require(!error, "cannot read {}: {}", folder.string(), error.message());
  return folder / event_file_name(seconds);
}

class TensorboardWriter final : public ScalarWriter {
 public:
  TensorboardWriter(const fs::path& folder, LastSamples resumed_at)
      : file_(resumed_at ? last_event_file(folder) : event_file(folder)) {
    file_.write(frame_record(encode_file_version(wall_seconds())));
    if (resumed_at) file_.write(frame_record(encode_session_start(wall_seconds(), *resumed_at + 1)));
  }

  std::string_view name() const override { return "tensorboard"; }

  void write(std::span<const Scalar> scalars) override {
    const double now = wall_seconds();
    std::string records;
    for (const Scalar& scalar : scalars) {
      records += frame_record(encode_scalar(now, scalar.samples, scalar.tag, scalar.value));
    }
    file_.write(records);
  }

 private:
  AppendFile file_;
};

}  // namespace

std::unique_ptr<ScalarWriter> make_tensorboard_writer(const fs::path& folder, LastSamples resumed_at) {
  create_folder(folder);
  return std::make_unique<TensorboardWriter>(folder, resumed_at);
}

}  // namespace llama_zero
