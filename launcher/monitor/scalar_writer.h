// Where a run's scalars go: one writer a format, and the group that a run writes to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace llama_zero {

/// One point of one curve.
struct Scalar {
  std::string tag;  ///< "Train/Samples/lr"
  double value = 0.0;
  std::int64_t samples = 0;  ///< x axis: samples of all ranks seen so far
};

class ScalarWriter {
 public:
  virtual ~ScalarWriter() = default;
  /// The config section, "tensorboard": named in messages.
  virtual std::string_view name() const = 0;
  /// Appends the points and hands them to the system. Throws Error naming the file and the reason.
  virtual void write(std::span<const Scalar> scalars) = 0;
};

/// Where a resumed run goes on: x of the last point that its checkpoint knows. Points beyond it were made in vain and
/// go. Nothing: the run is a new one.
using LastSamples = std::optional<std::int64_t>;

/// DeepSpeed's csv_monitor: `folder`/<tag with '/' and ' ' as '_'>.csv, header "step,<last part of the tag>", a line
/// "<samples>,<value>" a point. A file that is there already is continued under a second header, as DeepSpeed does; a
/// resumed run cuts the lines that lie beyond its checkpoint and goes on without one. Creates the folder; throws Error
/// when it cannot be written to.
std::unique_ptr<ScalarWriter> make_csv_writer(const fs::path& folder, LastSamples resumed_at = std::nullopt);

/// An event file of TensorBoard: `folder`/events.out.tfevents.<seconds>.<host>.<process>.0. A resumed run's is read
/// after those that are there, and makes TensorBoard forget their points beyond the checkpoint. Creates folder and
/// file; throws Error when it cannot.
std::unique_ptr<ScalarWriter> make_tensorboard_writer(const fs::path& folder, LastSamples resumed_at = std::nullopt);

/// The writers of a run. Losing a curve must not lose a training run: a writer that fails is dropped with one warning.
class ScalarWriters {
 public:
  void add(std::unique_ptr<ScalarWriter> writer) { writers_.push_back(std::move(writer)); }
  bool empty() const { return writers_.empty(); }
  void write(std::span<const Scalar> scalars);

 private:
  std::vector<std::unique_ptr<ScalarWriter>> writers_;
};

}  // namespace llama_zero
