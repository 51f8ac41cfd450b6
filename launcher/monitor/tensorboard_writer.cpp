#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "launcher/monitor/append_file.h"
#include "launcher/monitor/event_record.h"
#include "launcher/monitor/scalar_writer.h"

namespace llama_zero {
namespace {

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// TensorBoard takes a file for an event file when its name holds "tfevents", and reads files of a folder in the order
// of their names: seconds come first. The process number keeps runs that start in the same second apart.
fs::path event_file(const fs::path& folder) {
  return folder / fmt::format("events.out.tfevents.{:010}.{}.{}.0", static_cast<std::int64_t>(wall_seconds()),
                              host_name(), ::getpid());
}

class TensorboardWriter final : public ScalarWriter {
 public:
  explicit TensorboardWriter(const fs::path& folder) : file_(event_file(folder)) {
    file_.write(frame_record(encode_file_version(wall_seconds())));
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

std::unique_ptr<ScalarWriter> make_tensorboard_writer(const fs::path& folder) {
  create_folder(folder);
  return std::make_unique<TensorboardWriter>(folder);
}

}  // namespace llama_zero
