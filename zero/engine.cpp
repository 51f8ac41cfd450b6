#include "zero/engine.h"

#include <algorithm>
#include <utility>

#include "zero/gradient_store.h"
#include "zero/master_io.h"
#include "zero/non_finite.h"
#include "zero/param_store.h"
#include "zero/scalar_exchange.h"

namespace llama_zero {
namespace {

EngineOptions checked(EngineOptions options) {
  require(options.stage >= 0 && options.stage <= 3, "engine: ZeRO stage {} is none of 0, 1, 2, 3", options.stage);
  for (const DType dtype : {options.dtype, options.grad_accum_dtype}) {
    require(is_floating(dtype) && dtype != DType::kF64, "engine: {} is no storage type of training", name_of(dtype));
  }
  options.transformer.dtype = options.dtype;
  return options;
}

std::unique_ptr<ParamStore> make_param_store(const RankContext& context, const ParamTable& table,
                                             const EngineOptions& options) {
  if (options.stage < 3) return std::make_unique<ReplicatedParamStore>(context, options.dtype, options.stage > 0);
  const LeaseOptions leases{options.param_persistence_threshold, options.prefetch_bucket_size};
  return std::make_unique<LeasedParamStore>(context, table, options.dtype, leases);
}

std::unique_ptr<GradientStore> make_gradient_store(const RankContext& context, const ParamTable& table,
                                                   const EngineOptions& options) {
  if (options.stage < 2) {
    return make_full_gradient_store(context, options.grad_accum_dtype, options.reduce_bucket_size, options.stage == 0);
  }
  // The head writes its part of a tied table's gradient first, the embedding adds the rest after all blocks.
  const int held_unit = table.config().tie_word_embeddings ? table.embedding_unit() : -1;
  return make_sharded_gradient_store(context, options.grad_accum_dtype, options.reduce_bucket_size, held_unit);
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
        layout_(table, communicator.size(), communicator.rank()),
        context_{device, ops, communicator, arena, layout_, *communication_},
        params_(make_param_store(context_, table, options_)),
        gradients_(make_gradient_store(context_, table, options_)),
        optimizer_(context_, options_.dtype, *params_),
        boundary_(context_, options_.schedule, options_.scaler, options_.gradient_clipping, *compute_),
        state_(initial_step_state(options_.scaler)),
        loss_(context_),
        io_(context_),
        transformer_(table, options_.transformer, options_.max_positions, device, ops, arena) {
    const auto zeroed = device.create_event();
    order_streams(*zeroed, *communication_, *compute_);
  }

  void load_weights(const UnitReader& read) {
    io_.write(optimizer_, read, *compute_);
    optimizer_.restart(*compute_);
    params_->publish(*compute_);
    compute_->synchronize();
  }

  StepResult train_step(std::span<const Pass> passes, std::int64_t global_loss_tokens) {
    require(!passes.empty(), "engine: a step of no passes");
    require(global_loss_tokens >= 0, "engine: {} loss tokens", global_loss_tokens);
    context_.communicator.set_step(state_.iteration + 1);
    run_passes(passes, global_loss_tokens);
    boundary_.advance(*gradients_, *compute_);
    optimizer_.update(*gradients_, boundary_.state(), current_adamw(), *compute_);
    params_->publish(*compute_);
    StepResult result;
    result.loss = loss_.gather_sum(*compute_) / divisor(global_loss_tokens);
    result.loss_tokens = global_loss_tokens;
    result.state = state_ = boundary_.read(*compute_);
    if (state_.scale_exhausted != 0) fail_exhausted();
    return result;
  }

  double evaluate(std::span<const Pass> passes) {
    context_.communicator.set_step(state_.iteration);
    context_.ops.fill({loss_.own(), 0.0}, *compute_);
    for (const Pass& pass : passes) transformer_.forward_loss(pass, *params_, loss_.own(), *compute_);
    return loss_.gather_sum(*compute_);
  }

  void gather_master(int unit, std::vector<float>& out, bool wanted) {
    io_.gather(unit, optimizer_.master(unit), wanted, out, *compute_);
  }

  void gather_weights(int unit, std::vector<float>& out) {
    io_.read(unit, params_->acquire(unit, *compute_), out, *compute_);
    params_->release(unit, *compute_);
  }

  const ParamTable& table() const { return table_; }
  ParamStore& params() { return *params_; }
  GradientStore& gradients() { return *gradients_; }
  const StepState& state() const { return state_; }

 private:
  // A batch whose targets are all masked has no loss: its gradient is zero, whatever it is divided by.
  static double divisor(std::int64_t loss_tokens) {
    return static_cast<double>(std::max<std::int64_t>(1, loss_tokens));
  }

  void run_passes(std::span<const Pass> passes, std::int64_t global_loss_tokens) {
    // The reduction divides by the ranks, so that 16-bit gradients have the magnitude of the mean.
    const BackwardSeed seed{static_cast<double>(context_.ranks()) / divisor(global_loss_tokens),
                            boundary_.loss_scale()};
    gradients_->begin_step();
    context_.ops.fill({loss_.own(), 0.0}, *compute_);
    for (const Pass& pass : passes) {
      transformer_.forward_backward(pass, seed, *params_, *gradients_, loss_.own(), *compute_);
    }
    gradients_->finish(*compute_);
  }

  AdamWOptions current_adamw() const {
    AdamWOptions adamw = options_.adamw;
    if (options_.betas.empty()) return adamw;
    const auto row = std::min(static_cast<std::size_t>(state_.applied_steps), options_.betas.size() - 1);
    adamw.beta1 = options_.betas[row].beta1;
    adamw.beta2 = options_.betas[row].beta2;
    return adamw;
  }

  [[noreturn]] void fail_exhausted() {
    const std::string name = first_non_finite(context_, table_, *gradients_, loss_, *compute_);
    fail(
        "step {}: the loss scale is already at its minimum of {:g} and the gradients still overflow{}; {} steps were "
        "skipped. Use bf16, lower the learning rate, or check the data of this step",
        state_.iteration, static_cast<double>(options_.scaler.min_loss_scale),
        name.empty() ? std::string() : fmt::format(" (first in {})", name), state_.skipped_steps);
  }

  const ParamTable& table_;
  EngineOptions options_;
  ArenaMark mark_;
  std::unique_ptr<Stream> compute_, communication_;
  Layout layout_;
  RankContext context_;
  std::unique_ptr<ParamStore> params_;
  std::unique_ptr<GradientStore> gradients_;
  ShardedAdamW optimizer_;
  StepBoundary boundary_;
  StepState state_;
  ScalarExchange loss_;
  MasterIo io_;
  Transformer transformer_;
};

Engine::Engine(const ParamTable& table, const EngineOptions& options, Device& device, Ops& ops,
               Communicator& communicator, Arena& arena)
    : impl_(std::make_unique<Impl>(table, options, device, ops, communicator, arena)) {}
Engine::~Engine() = default;

void Engine::initialise(std::uint64_t seed) { load_weights(initial_value_reader(impl_->table(), seed)); }
void Engine::load_weights(const UnitReader& read) { impl_->load_weights(read); }
StepResult Engine::train_step(std::span<const Pass> passes, std::int64_t global_loss_tokens) {
  return impl_->train_step(passes, global_loss_tokens);
}
double Engine::evaluate(std::span<const Pass> passes) { return impl_->evaluate(passes); }
void Engine::gather_master(int unit, std::vector<float>& out, bool wanted) { impl_->gather_master(unit, out, wanted); }
void Engine::gather_weights(int unit, std::vector<float>& out) { impl_->gather_weights(unit, out); }
ParamSource& Engine::params() { return impl_->params(); }
const StepState& Engine::last_state() const { return impl_->state(); }
std::int64_t Engine::gathered_elements_peak() const { return impl_->params().gathered_elements_peak(); }
void Engine::set_gradient_hook(GradientHook hook) { impl_->gradients().set_hook(std::move(hook)); }

}  // namespace llama_zero
