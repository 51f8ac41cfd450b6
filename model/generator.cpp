#include "model/generator.h"

#include <algorithm>

#include "kernels/planning_ops.h"
#include "model/activations.h"
#include "model/block.h"
#include "model/generation_batch.h"
#include "model/pass_inputs.h"
#include "model/replicated_params.h"
#include "model/rope_table.h"

namespace llama_zero {

class Generator::Impl {
 public:
  Impl(const ParamTable& table, const GeneratorOptions& options, Ops& ops, Arena& arena)
      : table_(table), options_(checked(table, options)), ops_(ops), arena_(arena), staging_(arena.device()) {
    cos_sin_ = make_rope_table(table.config(), options_.dtype, options_.max_positions, arena);
  }

  std::vector<TokenIds> generate(std::span<const TokenIds> prompts, const GenerationRequest& request,
                                 ParamSource& params, Stream& stream) {
    check_request(prompts, request);
    const GenerationResources resources{table_, options_, ops_, arena_, cos_sin_, params, stream, staging_};
    std::vector<TokenIds> answers;
    answers.reserve(prompts.size());
    const auto batch = static_cast<std::size_t>(options_.max_batch);
    for (std::size_t begin = 0; begin < prompts.size(); begin += batch) {
      const auto part = prompts.subspan(begin, std::min(batch, prompts.size() - begin));
      for (TokenIds& answer : generate_batch(resources, part, begin, request)) answers.push_back(std::move(answer));
    }
    return answers;
  }

 private:
  static GeneratorOptions checked(const ParamTable& table, GeneratorOptions options) {
    const std::int64_t limit = table.config().max_position_embeddings;
    if (options.max_positions == 0) options.max_positions = limit;
    require(options.max_positions >= 1 && options.max_positions <= limit,
            "generation: max_positions = {} must be between 1 and the model's {}", options.max_positions, limit);
    require(options.max_batch >= 1, "generation: max_batch = {} must be at least 1", options.max_batch);
    require(options.prefill_tokens >= 1, "generation: prefill_tokens = {} must be at least 1", options.prefill_tokens);
    return options;
  }

  void check_request(std::span<const TokenIds> prompts, const GenerationRequest& request) const {
    request.sampling.validate();
    require(request.max_new_tokens >= 1, "generation: max_new_tokens = {} must be at least 1", request.max_new_tokens);
    const std::int64_t vocab = table_.config().vocab_size;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      require(!prompts[i].empty(), "generation: prompt {} is empty", i);
      require(static_cast<std::int64_t>(prompts[i].size()) < options_.max_positions,
              "generation: prompt {} has {} tokens and leaves none of {} positions for an answer", i, prompts[i].size(),
              options_.max_positions);
      for (const std::int32_t token : prompts[i]) {
        require(token >= 0 && token < vocab, "generation: prompt {} has token {}, outside the model's vocabulary of {}",
                i, token, vocab);
      }
    }
  }

  const ParamTable& table_;
  GeneratorOptions options_;
  Ops& ops_;
  Arena& arena_;
  PassStaging staging_;
  ConstView cos_sin_;
};

Generator::Generator(const ParamTable& table, const GeneratorOptions& options, Device& device, Ops& ops, Arena& arena) {
  require(&arena.device() == &device, "generator: arena '{}' belongs to another device", arena.name());
  impl_ = std::make_unique<Impl>(table, options, ops, arena);
}
Generator::~Generator() = default;

std::vector<TokenIds> Generator::generate(std::span<const TokenIds> prompts, const GenerationRequest& request,
                                          ParamSource& params, Stream& stream) {
  return impl_->generate(prompts, request, params, stream);
}

GenerationPlan plan_generation(const ParamTable& table, const GeneratorOptions& options, const Ops& sizing,
                               std::span<const TokenIds> prompts, const GenerationRequest& request) {
  const std::unique_ptr<Device> device = make_null_device();
  const std::unique_ptr<Stream> stream = device->create_stream("plan");
  PlanningOps ops(sizing);
  Arena weights(*device, 0, "plan of weights");
  ReplicatedParams params(table, options.dtype, weights);
  Arena arena(*device, 0, "plan of generation");
  Generator(table, options, *device, ops, arena).generate(prompts, request, params, *stream);
  return {arena.report().peak_bytes, ops.largest_workspace()};
}

}  // namespace llama_zero
