#include "zero/engine.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "zero/activation_copies.h"
#include "zero/gradient_store.h"
#include "zero/leased_param_store.h"
#include "zero/master_io.h"
#include "zero/non_finite.h"
#include "zero/param_store.h"
#include "zero/scalar_exchange.h"
#include "zero/step_readback.h"

namespace llama_zero {
namespace {

EngineOptions checked(EngineOptions options) {
  require(options.stage >= 0 && options.stage <= 3, "engine: ZeRO stage {} is none of 0, 1, 2, 3", options.stage);
  require(options.stage > 0 || !options.offload_optimizer.enabled, "engine: stage 0 has no shards to offload");
  for (const DType dtype : {options.dtype, options.grad_accum_dtype}) {
    require(is_floating(dtype) && dtype != DType::kF64, "engine: {} is no storage type of training", name_of(dtype));
  }
  options.transformer.dtype = options.dtype;
  return options;
}

std::unique_ptr<ParamStore> make_param_store(const RankContext& context, const ParamTable& table,
                                             const EngineOptions& options) {
  if (options.stage < 3)
    return std::make_unique<ReplicatedParamStore>(context, options.dtype, options.stage > 0, options.overlap_comm);
  const LeaseOptions leases{options.param_persistence_threshold, options.model_persistence_threshold,
                            options.prefetch_bucket_size,        options.max_live_parameters,
                            options.max_reuse_distance,          options.overlap_comm};
  return std::make_unique<LeasedParamStore>(context, table, options.dtype, leases, options.offload_param);
}

std::unique_ptr<GradientStore> make_gradient_store(const RankContext& context, const ParamTable& table,
                                                   const EngineOptions& options, const OffloadPlan& offload) {
  const GradientOptions gradients{options.grad_accum_dtype, options.reduce_bucket_size, options.averaging,
                                  options.overlap_comm, offload};
  if (options.stage < 2 || options.local_gradient_accumulation)
    return make_full_gradient_store(context, gradients, options.stage == 0);
  // The head writes its part of a tied table's gradient first, the embedding adds the rest after all blocks.
  const int held_unit = table.config().tie_word_embeddings ? table.embedding_unit() : -1;
  return make_sharded_gradient_store(context, gradients, held_unit);
}

/// Gives back what the engine allocated, after everything that used it is gone.
class ArenaMark {
 public:
  explicit ArenaMark(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaMark() { arena_.release_to(mark_); }
  ArenaMark(const ArenaMark&) = delete;
  ArenaMark& operator=(const ArenaMark&) = delete;

 private:
  Arena& arena_;
  std::size_t mark_;
};

}  // namespace

class Engine::Impl {
 public:
  Impl(const ParamTable& table, const EngineOptions& options, Device& device, Ops& ops, Communicator& communicator,
       Arena& arena)
      : table_(table),
        options_(checked(options)),
        mark_(arena),
        compute_(device.create_stream("compute")),
        communication_(device.create_stream("communication")),
        upload_(device.create_stream("upload")),
        download_(device.create_stream("download")),
        host_(device),
        layout_(table, communicator.size(), communicator.rank()),
        context_{device, ops, communicator, arena, host_, layout_, *communication_, *upload_, *download_},
        offload_(plan_offload(layout_, options_.offload_optimizer)),
        params_(make_param_store(context_, table, options_)),
        gradients_(make_gradient_store(context_, table, options_, offload_)),
        optimizer_(context_, options_.dtype, *params_, options_.optimizer, decay_ranges(table), offload_),
        boundary_(context_, options_.schedule, options_.scaler, options_.gradient_clipping, *compute_),
        state_(initial_step_state(options_.scaler)),
        readback_(context_),
        exchange_(context_),
        io_(context_),
        transformer_(table, options_.transformer, options_.max_positions, device, ops, arena) {
    std::vector<const Stream*> background = {communication_.get(), upload_.get(), download_.get()};
    if (options_.transformer.cpu_checkpointing) {
      HostCopies& copies = activation_copies_.emplace(device, communicator);
      transformer_.keep_inputs_on(host_, copies);
      for (const CopyWay way : {CopyWay::kToHost, CopyWay::kToDevice}) background.push_back(&copies.stream(way));
    }
    const auto zeroed = device.create_event();
    order_streams(*zeroed, *communication_, *compute_);
    communicator.set_background(std::move(background));
  }

  ~Impl() {
    try {  // what the device still does uses this memory
      for (Stream* stream : {compute_.get(), communication_.get(), upload_.get(), download_.get()}) {
        stream->synchronize();
      }
    } catch (const std::exception& error) {
      log::warning("engine: {}", error.what());
    }
    context_.communicator.set_background({});
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void load_weights(const UnitReader& read) {
    io_.write(optimizer_, read, *compute_);
    optimizer_.restart(*compute_);
    params_->publish(*compute_);
    compute_->synchronize();
    communication_->synchronize();  // gathers that no reader has waited for
  }

  std::vector<std::string> state_names() const {
    std::vector<std::string> names{"master"};
    for (const std::string_view name : optimizer_.names()) names.emplace_back(name);
    return names;
  }

  void read_state(int unit, int state, std::int64_t begin, std::span<float> out) {
    io_.read_shard(unit, state_view(unit, state), begin, out, *compute_);
  }

  void load_states(const StateReader& read, const StepState& step_state) {
    require(!given_, "engine: states are loaded while a step is under way");
    const int states = static_cast<int>(state_names().size());
    for (int unit = 0; unit < layout_.unit_count(); ++unit) {
      for (int state = 0; state < states; ++state) {
        const auto of_state = [&](int of_unit, std::int64_t begin, std::span<float> out) {
          read(of_unit, state, begin, out);
        };
        io_.write(unit, state_view(unit, state), of_state, *compute_);
      }
    }
    optimizer_.copy_to_model(*compute_);
    state_ = resumed(step_state);
    boundary_.write(state_, *compute_);
    params_->publish(*compute_);
    compute_->synchronize();
    communication_->synchronize();  // gathers that no reader has waited for
  }

  std::optional<StepResult> train_step(std::span<const Pass> passes, double loss_weight) {
    require(failure_.empty(), "engine: no step can follow this: {}", failure_);
    require(!passes.empty(), "engine: a step of no passes");
    require(loss_weight >= 0.0, "engine: loss weight {}", loss_weight);
    GivenStep step{{passes.begin(), passes.end()}, loss_weight};
    context_.communicator.set_step(next_step());
    readback_.begin(*compute_);
    run_passes(step, observer_);
    boundary_.advance(*gradients_, *compute_);
    tell(observer_, StepPoint::kDecided);
    optimizer_.update(*gradients_, boundary_.state(), *compute_);
    tell(observer_, StepPoint::kUpdated);
    // Before the weights travel: collectives have one order, and the next step's work must not wait for all of them.
    readback_.give(boundary_.state(), *compute_);
    params_->publish(*compute_);
    tell(observer_, StepPoint::kPublished);
    std::optional<StepResult> result = drain();
    if (!failure_.empty()) {
      readback_.take();  // the device left the new step undone
    } else {
      given_ = std::move(step);
    }
    return result;
  }

  std::optional<StepResult> drain() {
    if (!given_) return std::nullopt;
    const GivenStep step = *std::exchange(given_, std::nullopt);
    const StepReadback::Values values = readback_.take();
    StepResult result;
    result.loss = values.loss_sum / divisor(step.loss_weight);
    result.state = state_ = values.state;
    result.seconds = values.seconds;
    if (is_stopped(state_)) result.failure = failure_ = explain_failure(step);
    return result;
  }

  double evaluate(std::span<const Pass> passes) {
    context_.communicator.set_step(state_.iteration);
    context_.ops.fill({exchange_.own(), 0.0}, *compute_);
    for (const Pass& pass : passes) transformer_.forward_loss(pass, *params_, exchange_.own(), *compute_);
    return exchange_.gather_sum(*compute_);
  }

  void gather_master(int unit, std::vector<float>& out, int root) {
    io_.gather(unit, optimizer_.master(unit), optimizer_.on_host(unit), root, out, *compute_);
  }

  void gather_weights(int unit, std::vector<float>& out) {
    io_.read(unit, params_->acquire(unit, *compute_), out, *compute_);
    params_->release(unit, *compute_);
  }

  void set_observer(StepObserver* observer) { observer_ = observer; }

  const MemoryReport& host_memory() const { return host_.report(); }
  const ParamTable& table() const { return table_; }
  ParamStore& params() { return *params_; }
  GradientStore& gradients() { return *gradients_; }
  const StepState& state() const { return state_; }

 private:
  /// A step that the device has and the host does not know the result of.
  struct GivenStep {
    std::vector<Pass> passes;  ///< for explain_failure
    double loss_weight = 0.0;
  };

  // A batch whose targets are all masked has no loss: its gradient is zero, whatever it is divided by.
  static double divisor(double loss_weight) { return loss_weight > 0.0 ? loss_weight : 1.0; }

  View state_view(int unit, int state) {
    require(unit >= 0 && unit < layout_.unit_count() && state >= 0 && state <= std::ssize(optimizer_.names()),
            "engine: there is no state {} of unit {}", state, unit);
    return state == 0 ? optimizer_.master(unit) : optimizer_.state(unit, static_cast<std::size_t>(state - 1));
  }

  std::int64_t next_step() const { return state_.iteration + 1 + (given_ ? 1 : 0); }

  void tell(StepObserver* observer, StepPoint point) {
    if (observer != nullptr) observer->at(point, -1, *compute_);
  }

  void run_pass(const Pass& pass, const BackwardSeed& seed, View loss, StepObserver* observer) {
    if (observer == nullptr) {
      transformer_.forward_backward(pass, seed, *params_, *gradients_, loss, *compute_);
      return;
    }
    observer->at(StepPoint::kPass, -1, *compute_);
    ObservedParams params(*params_, table_.head_unit(), *observer);
    ObservedGradients gradients(*gradients_, table_.head_unit(), *observer);
    transformer_.forward_backward(pass, seed, params, gradients, loss, *compute_);
    observer->at(StepPoint::kPassEnd, -1, *compute_);
  }

  void run_passes(const GivenStep& step, StepObserver* observer) {
    // The reduction divides by the ranks, so that 16-bit gradients have the magnitude of the mean.
    const BackwardSeed seed{static_cast<double>(context_.ranks()) / divisor(step.loss_weight), boundary_.loss_scale()};
    const View loss = readback_.loss_sum();
    gradients_->begin_step(static_cast<int>(step.passes.size()));
    context_.ops.fill({loss, 0.0}, *compute_);
    for (const Pass& pass : step.passes) {
      params_->expect_another_pass(&pass != &step.passes.back());
      run_pass(pass, seed, loss, observer);
    }
    gradients_->finish(*compute_);
    tell(observer, StepPoint::kReduced);
  }

  // By now the device may have overwritten the step's gradients with the next one's. No weight has changed since, so
  // the step run again gives the same ones.
  std::string explain_failure(const GivenStep& step) {
    StepState as_before = state_;
    as_before.loss_scale = state_.used_loss_scale;
    boundary_.write(as_before, *compute_);
    run_passes(step, nullptr);
    const std::string name = first_non_finite(context_, table_, *gradients_, exchange_, *compute_);
    boundary_.write(state_, *compute_);
    return stop_message(state_, options_.scaler, name);
  }

  const ParamTable& table_;
  EngineOptions options_;
  ArenaMark mark_;
  std::unique_ptr<Stream> compute_, communication_, upload_, download_;
  HostArena host_;
  Layout layout_;
  RankContext context_;
  OffloadPlan offload_;
  std::unique_ptr<ParamStore> params_;
  std::unique_ptr<GradientStore> gradients_;
  ShardedOptimizer optimizer_;
  StepBoundary boundary_;
  StepState state_;
  std::optional<GivenStep> given_;
  std::string failure_;
  StepObserver* observer_ = nullptr;
  StepReadback readback_;
  ScalarExchange exchange_;
  MasterIo io_;
  std::optional<ActivationCopies> activation_copies_;
  Transformer transformer_;
};

Engine::Engine(const ParamTable& table, const EngineOptions& options, Device& device, Ops& ops,
               Communicator& communicator, Arena& arena)
    : impl_(std::make_unique<Impl>(table, options, device, ops, communicator, arena)) {}
Engine::~Engine() = default;

void Engine::initialise(std::uint64_t seed) { load_weights(initial_value_reader(impl_->table(), seed)); }
void Engine::load_weights(const UnitReader& read) { impl_->load_weights(read); }
std::optional<StepResult> Engine::train_step(std::span<const Pass> passes, double loss_weight) {
  return impl_->train_step(passes, loss_weight);
}
std::optional<StepResult> Engine::drain() { return impl_->drain(); }
double Engine::evaluate(std::span<const Pass> passes) { return impl_->evaluate(passes); }
void Engine::gather_master(int unit, std::vector<float>& out, int root) { impl_->gather_master(unit, out, root); }
void Engine::gather_weights(int unit, std::vector<float>& out) { impl_->gather_weights(unit, out); }
std::vector<std::string> Engine::state_names() const { return impl_->state_names(); }
void Engine::read_state(int unit, int state, std::int64_t begin, std::span<float> out) {
  impl_->read_state(unit, state, begin, out);
}
void Engine::load_states(const StateReader& read, const StepState& step_state) { impl_->load_states(read, step_state); }
ParamSource& Engine::params() { return impl_->params(); }
const StepState& Engine::last_state() const { return impl_->state(); }
std::int64_t Engine::gathered_elements_peak() const { return impl_->params().gathered_elements_peak(); }
const MemoryReport& Engine::host_memory() const { return impl_->host_memory(); }
void Engine::set_observer(StepObserver* observer) { impl_->set_observer(observer); }
void Engine::set_gradient_hook(GradientHook hook) { impl_->gradients().set_hook(std::move(hook)); }

}  // namespace llama_zero
