#include "launcher/checkpoint_saver.h"

#include <fmt/format.h>

#include <chrono>
#include <future>
#include <new>
#include <optional>
#include <vector>

#include "core/log.h"
#include "core/trace.h"
#include "launcher/config.h"
#include "launcher/train_finish.h"
#include "launcher/tuned_products.h"
#include "model/config_json.h"
#include "zero/checkpoint/folder.h"

namespace llama_zero {
namespace {

constexpr std::int64_t kDirectChunk = std::int64_t{1} << 20;  // values, where there is no copy of the whole shard

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Written {
  ShardSummary shard;
  double seconds = 0.0;
};

}  // namespace

class CheckpointSaver::Impl {
 public:
  Impl(const TrainSetup& setup, Engine& engine, const Runtime& runtime, const RunFolder& folder, std::int64_t keep,
       std::string tune_table)
      : setup_(setup),
        engine_(engine),
        group_(runtime.group()),
        root_(folder.checkpoints()),
        keep_(keep),
        tune_table_(std::move(tune_table)),
        states_(engine.state_names()),
        map_(unit_numels(*setup.table), static_cast<int>(states_.size()), runtime.ranks()) {}

  ~Impl() {
    if (writing_.valid()) writing_.wait();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void save(const RunPosition& position) {
    finish();
    const double start = now_seconds();
    position_ = position;
    engine_state_ = engine_.last_state();
    describing([&] { group_.on_root([&] { root_.begin(position.steps); }, "checkpoint's folder"); });
    if (std::optional<std::vector<float>> copy = copy_shard()) {
      writing_ = std::async(std::launch::async,
                            [this, values = std::move(*copy)] { return write_shard(std::span<const float>(values)); });
    } else {
      std::promise<Written> done;
      writing_ = done.get_future();
      try {
        done.set_value(write_directly());
      } catch (...) {
        done.set_exception(std::current_exception());
      }
    }
    log::info("checkpoint of step {}: training stopped for {:.2f} s", position.steps, now_seconds() - start);
  }

  void poll() {
    if (!saving()) return;
    const bool mine = writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    if (group_.min(mine ? 1 : 0, "agreement on the checkpoint") == 1) complete();
  }

  void finish() {
    if (!saving()) return;
    writing_.wait();
    complete();
  }

  bool saving() const { return writing_.valid(); }

 private:
  static std::vector<std::int64_t> unit_numels(const ParamTable& table) {
    std::vector<std::int64_t> numels;
    for (const Unit& unit : table.units()) numels.push_back(unit.numel);
    return numels;
  }

  fs::path shard_path() const { return root_.partial(position_.steps) / shard_file_name(group_.rank(), group_.size()); }

  /// Calls visit(unit, state, count) in the order of the file.
  template <typename Visit>
  void for_each_part(const Visit& visit) const {
    for (int unit = 0; unit < map_.unit_count(); ++unit) {
      const std::int64_t count = map_.partition(unit).valid(group_.rank());
      for (int state = 0; state < map_.state_count(); ++state) visit(unit, state, count);
    }
  }

  std::optional<std::vector<float>> copy_shard() {
    std::vector<float> values;
    try {
      values.resize(static_cast<std::size_t>(map_.elements(group_.rank())));
    } catch (const std::bad_alloc&) {
      log::warning("no host memory for a copy of the checkpoint: training stops until it is written");
      return std::nullopt;
    }
    std::size_t at = 0;
    for_each_part([&](int unit, int state, std::int64_t count) {
      engine_.read_state(unit, state, 0, std::span(values).subspan(at, static_cast<std::size_t>(count)));
      at += static_cast<std::size_t>(count);
    });
    return values;
  }

  Written write_shard(std::span<const float> values) const {
    const double start = now_seconds();
    const TraceScope scope(TraceThread::kCheckpoint, "checkpoint", "write shard",
                           static_cast<std::int64_t>(values.size_bytes()));
    ShardWriter writer(shard_path(), group_.rank(), group_.size(), std::ssize(values));
    writer.append(values);
    return {writer.finish(), now_seconds() - start};
  }

  Written write_directly() {
    const double start = now_seconds();
    ShardWriter writer(shard_path(), group_.rank(), group_.size(), map_.elements(group_.rank()));
    std::vector<float> chunk(static_cast<std::size_t>(kDirectChunk));
    for_each_part([&](int unit, int state, std::int64_t count) {
      for (std::int64_t begin = 0; begin < count; begin += kDirectChunk) {
        const auto part = std::span(chunk).first(static_cast<std::size_t>(std::min(kDirectChunk, count - begin)));
        engine_.read_state(unit, state, begin, part);
        writer.append(part);
      }
    });
    return {writer.finish(), now_seconds() - start};
  }

  void complete() {
    Written written;
    describing([&] { group_.together([&] { written = writing_.get(); }, "checkpoint's shards"); });
    CheckpointManifest manifest = describe();
    const std::vector<std::int64_t> bytes = group_.from_each(static_cast<std::int64_t>(written.shard.bytes));
    const std::vector<std::int64_t> seals = group_.from_each(static_cast<std::int64_t>(written.shard.seal));
    std::uint64_t total = 0;
    for (std::size_t rank = 0; rank < bytes.size(); ++rank) {
      manifest.shards.push_back({static_cast<std::uint64_t>(bytes[rank]), static_cast<std::uint64_t>(seals[rank])});
      total += manifest.shards.back().bytes;
    }
    describing([&] {
      const auto seal = [&] {
        add_files(manifest);
        root_.complete(manifest, keep_);
      };
      group_.on_root(seal, "checkpoint's manifest");
    });
    log::info("checkpoint of step {}: {} in {}, written in {:.1f} s ({:.2f} GB/s)", manifest.step, format_bytes(total),
              root_.folder(manifest.step).string(), written.seconds,
              static_cast<double>(total) / 1e9 / std::max(written.seconds, 1e-9));
  }

  CheckpointManifest describe() const {
    CheckpointManifest manifest;
    manifest.step = position_.steps;
    manifest.stage = setup_.config.zero.stage;
    manifest.optimizer = setup_.config.optimizer.type;
    manifest.states = states_;
    for (const Unit& unit : setup_.table->units()) manifest.units.push_back({unit.name, unit.numel});
    manifest.step_state = engine_state_;
    manifest.run = format_run_position(position_);
    return manifest;
  }

  void add_files(CheckpointManifest& manifest) const {
    const std::int64_t step = manifest.step;
    manifest.files.push_back(root_.add_file(step, "config.json", resolved_json(setup_.config)));
    HfConfig model = setup_.model.config;
    model.info.torch_dtype = export_dtype_of(setup_.config);
    manifest.files.push_back(root_.add_file(step, "model.json", format_config_json(model)));
    if (!tune_table_.empty()) manifest.files.push_back(root_.add_file(step, kTuneFile, tune_table_));
    const MappedFile tokenizer(setup_.tokenizer->path());
    manifest.files.push_back(root_.add_file(step, "tokenizer.model", tokenizer.text()));
  }

  // A checkpoint that cannot be written ends the run: whoever goes on without it would not know what is lost.
  void describing(const std::function<void()>& body) const {
    try {
      body();
    } catch (const AgreedError& error) {
      if (group_.rank() == 0) root_.discard(position_.steps);
      throw AgreedError(fmt::format("the checkpoint of step {} could not be saved: {}; {}", position_.steps,
                                    error.what(), what_is_left()));
    }
  }

  std::string what_is_left() const {
    const std::optional<fs::path> latest = root_.latest();
    if (!latest) return "there is no earlier one. Free space, or give --output a folder that can be written";
    return fmt::format("the last complete one is {}. Free space, then go on with --resume {}", latest->string(),
                       latest->string());
  }

  const TrainSetup& setup_;
  Engine& engine_;
  const HostGroup& group_;
  CheckpointRoot root_;
  std::int64_t keep_;
  std::string tune_table_;
  std::vector<std::string> states_;
  ShardMap map_;
  RunPosition position_;
  StepState engine_state_;
  std::future<Written> writing_;
};

CheckpointSaver::CheckpointSaver(const TrainSetup& setup, Engine& engine, const Runtime& runtime,
                                 const RunFolder& folder, std::int64_t keep, std::string tune_table)
    : impl_(std::make_unique<Impl>(setup, engine, runtime, folder, keep, std::move(tune_table))) {}
CheckpointSaver::~CheckpointSaver() = default;
void CheckpointSaver::save(const RunPosition& position) { impl_->save(position); }
void CheckpointSaver::poll() { impl_->poll(); }
void CheckpointSaver::finish() { impl_->finish(); }
bool CheckpointSaver::saving() const { return impl_->saving(); }

}  // namespace llama_zero
