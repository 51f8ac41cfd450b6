// The optimizer section, typed; its autos and rules.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "core/error.h"
#include "launcher/config_resolve.h"

namespace llama_zero {
namespace {

std::string param(std::string_view name) { return fmt::format("optimizer.params.{}", name); }

class OptimizerResolver {
 public:
  OptimizerResolver(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config)
      : values_(values), facts_(facts), config_(config), optimizer_(config.optimizer) {}

  void run() {
    optimizer_.type = values_.optimizer_type();
    optimizer_.exempt_norms_and_embeddings = values_.flag("llama_zero.no_decay_norms_and_embeddings");
    learning_rate();
    fill_auto("weight_decay", 0.0);
    if (optimizer_.type == "AdamW" || optimizer_.type == "Adam") adam();
    if (optimizer_.type == "Lion") lion();
    if (optimizer_.type == "Adagrad") adagrad();
    if (optimizer_.type == "SGD") sgd();
    optimizer_.weight_decay = values_.number(param("weight_decay"));
  }

 private:
  void learning_rate() {
    const bool stated = values_.is_set("optimizer.type");  // without a type DeepSpeed builds no optimizer
    if (!stated) config_.notes.push_back("no optimizer in the config: AdamW, as Hugging Face's Trainer");
    const std::string key = param("lr");
    if (values_.is_auto(key) || (!stated && !values_.is_set(key))) {
      const double lr = facts_.imported_model ? 2e-5 : facts_.preset_learning_rate;
      values_.fill(key, lr, facts_.imported_model ? "auto: an imported model's" : "auto: the preset's");
    }
    optimizer_.lr = values_.number(key);
  }

  void adam() {
    betas();
    fill_auto("eps", 1e-8);
    optimizer_.eps = values_.number(param("eps"));
    optimizer_.bias_correction = values_.flag(param("bias_correction"));
    const bool decoupled = optimizer_.type == "AdamW" || values_.flag(param("adam_w_mode"));
    optimizer_.kind = decoupled ? OptimizerKind::kAdamW : OptimizerKind::kAdam;
    if (decoupled && values_.flag(param("torch_adam")) && !values_.is_set(param("weight_decay"))) {
      values_.fill(param("weight_decay"), 0.01, "default of torch's AdamW");
    }
  }

  void lion() {
    optimizer_.kind = OptimizerKind::kLion;
    betas();
  }

  void adagrad() {
    optimizer_.kind = OptimizerKind::kAdagrad;
    fill_auto("eps", 1e-8);
    optimizer_.eps = values_.number(param("eps"));
    optimizer_.lr_decay = values_.number(param("lr_decay"));
    optimizer_.initial_accumulator_value = values_.number(param("initial_accumulator_value"));
  }

  void sgd() {
    optimizer_.kind = OptimizerKind::kSgd;
    optimizer_.momentum = values_.number(param("momentum"));
    optimizer_.dampening = values_.number(param("dampening"));
    optimizer_.nesterov = values_.flag(param("nesterov"));
    require(!optimizer_.nesterov || (optimizer_.momentum > 0.0 && optimizer_.dampening == 0.0),
            "{}: nesterov needs a momentum above 0 and a dampening of 0, not {} and {}",
            values_.where(param("nesterov")), optimizer_.momentum, optimizer_.dampening);
    const std::int64_t stage = values_.integer("zero_optimization.stage");
    require(stage == 0 || values_.flag("zero_allow_untested_optimizer"),
            "{}: DeepSpeed did not test SGD with ZeRO and asks for leave: add \"zero_allow_untested_optimizer\": true "
            "(here every optimizer is tested at every stage), or use stage 0",
            values_.where("optimizer.type"));
  }

  void betas() {
    const std::string key = param("betas");
    fill_auto("betas", JsonValue::Array{JsonValue(0.9), JsonValue(0.999)});
    const std::vector<double> betas = values_.numbers(key);
    require(betas.size() == 2, "{}: {} must be two numbers, not {}", values_.where(key), key, betas.size());
    for (const double beta : betas) {
      require(beta >= 0.0 && beta < 1.0, "{}: {} must be in [0, 1), not {}", values_.where(key), key, beta);
    }
    optimizer_.beta1 = betas[0];
    optimizer_.beta2 = betas[1];
  }

  void fill_auto(std::string_view name, JsonValue::Data value) {
    if (values_.is_auto(param(name))) values_.fill(param(name), std::move(value), "auto: Hugging Face's");
  }

  ConfigValues& values_;
  const ResolveFacts& facts_;
  TrainConfig& config_;
  OptimizerConfig& optimizer_;
};

}  // namespace

void resolve_optimizer(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config) {
  OptimizerResolver(values, facts, config).run();
}

}  // namespace llama_zero
