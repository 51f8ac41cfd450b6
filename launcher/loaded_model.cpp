#include "launcher/loaded_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/planning_ops.h"
#include "launcher/run_description.h"
#include "model/hf_folder.h"
#include "model/transformer.h"

namespace llama_zero {
namespace {

const Pass& largest(std::span<const Pass> passes) { return *std::ranges::max_element(passes, {}, &Pass::tokens_count); }

std::int64_t longest(std::span<const TokenIds> prompts) {
  std::size_t length = 0;
  for (const TokenIds& prompt : prompts) length = std::max(length, prompt.size());
  return static_cast<std::int64_t>(length);
}

// Forward passes of one model at the size of the largest pass, on memory of its own.
struct LossMemory {
  std::size_t arena_bytes = 0;
  std::size_t workspace_bytes = 0;
};

void add_losses(const ParamTable& table, DType dtype, std::span<const Pass> passes, Device& device, Ops& ops,
                ParamSource& params, Arena& arena, View total) {
  const std::unique_ptr<Stream> stream = device.create_stream("loss");
  TransformerOptions options;
  options.dtype = dtype;
  Transformer transformer(table, options, std::max<std::int64_t>(1, largest(passes).longest), device, ops, arena);
  ops.fill({total, 0.0}, *stream);
  for (const Pass& pass : passes) transformer.forward_loss(pass, params, total, *stream);
  stream->synchronize();
}

LossMemory plan_losses(const ParamTable& table, DType dtype, std::span<const Pass> passes, const Ops& sizing) {
  const auto device = make_null_device();
  PlanningOps ops(sizing);
  Arena weights(*device, 0, "plan of weights");
  ReplicatedParams params(table, dtype, weights);
  Arena arena(*device, 0, "plan of losses");
  const View total = arena.allocate("loss", DType::kF64, 1);
  for (const Pass& pass : passes) add_losses(table, dtype, {&pass, 1}, *device, ops, params, arena, total);
  return {arena.report().peak_bytes, ops.largest_workspace()};
}

// Weights and what loading them takes for a moment.
std::size_t weight_bytes(const ParamTable& table, DType dtype, const Ops& sizing) {
  const auto device = make_null_device();
  PlanningOps ops(sizing);
  Arena arena(*device, 0, "plan of weights");
  ReplicatedParams params(table, dtype, arena);
  const std::unique_ptr<Stream> stream = device->create_stream("plan");
  params.load([](int, std::int64_t, std::span<float>) {}, ops, *stream);
  return arena.report().peak_bytes;
}

View allocate_workspace(Arena& arena, std::size_t bytes) {
  return arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(bytes));
}

std::size_t with_slack(std::size_t bytes) { return bytes + Arena::kAlignment; }

}  // namespace

DType parse_storage_dtype(const std::string& name) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (name_of(dtype) == name) return dtype;
  }
  fail("dtype '{}' is not one of fp32, fp16, bf16", name);
}

LoadedModel::LoadedModel(const ModelArguments& arguments, std::int64_t sequence_length, Runtime& runtime)
    : runtime_(runtime), source_(find_model(arguments.model)) {
  if (!arguments.without_tokenizer) {
    tokenizer_ = std::make_unique<Tokenizer>(find_tokenizer(arguments.tokenizer, source_));
    if (source_.imported) sequence_length = std::min(sequence_length, max_positions());
    fit_model(source_, *tokenizer_, sequence_length);
  }
  table_ = std::make_unique<ParamTable>(source_.config.model);
  if (source_.imported) dtype_ = source_.config.info.torch_dtype;
  if (!arguments.dtype.empty()) dtype_ = parse_storage_dtype(arguments.dtype);
  load_weights(arguments.seed);
}

void LoadedModel::load_weights(std::uint64_t seed) {
  Device& device = runtime_.device();
  stream_ = device.create_stream("model");
  arena_ = std::make_unique<Arena>(device, weight_bytes(*table_, dtype_, runtime_.ops()), "weights");
  params_ = std::make_unique<ReplicatedParams>(*table_, dtype_, *arena_);
  if (!source_.imported) {
    params_->load(initial_value_reader(*table_, seed), runtime_.ops(), stream());
    return;
  }
  const HfFolder folder(source_.folder);
  params_->load([&](int unit, std::int64_t begin, std::span<float> out) { folder.read(unit, begin, out); },
                runtime_.ops(), stream());
}

std::string LoadedModel::description() const {
  return fmt::format("{}: {}; {}{}", source_.name, describe_shape(*table_), name_of(dtype_),
                     source_.imported ? "" : ", random weights");
}

std::vector<TokenIds> LoadedModel::generate(std::span<const TokenIds> prompts, std::int64_t max_new_tokens,
                                            const SamplingOptions& sampling) {
  if (prompts.empty()) return {};
  GeneratorOptions options;
  options.dtype = dtype_;
  options.max_positions = std::min(max_positions(), longest(prompts) + max_new_tokens);
  GenerationRequest request;
  request.max_new_tokens = max_new_tokens;
  request.eos_token_ids = source_.config.info.eos_token_ids;
  request.sampling = sampling;
  const GenerationPlan plan = plan_generation(*table_, options, runtime_.ops(), prompts, request);
  Arena arena(runtime_.device(), with_slack(plan.arena_bytes + plan.workspace_bytes), "generation");
  runtime_.ops().set_workspace(allocate_workspace(arena, plan.workspace_bytes));
  Generator generator(*table_, options, runtime_.device(), runtime_.ops(), arena);
  std::vector<TokenIds> answers = generator.generate(prompts, request, *params_, stream());
  runtime_.ops().set_workspace({});
  return answers;
}

double LoadedModel::sum_losses(std::span<const Pass> passes) {
  if (passes.empty()) return 0.0;
  Device& device = runtime_.device();
  const LossMemory plan = plan_losses(*table_, dtype_, {&largest(passes), 1}, runtime_.ops());
  Arena arena(device, with_slack(plan.arena_bytes + plan.workspace_bytes), "losses");
  runtime_.ops().set_workspace(allocate_workspace(arena, plan.workspace_bytes));
  const View total = arena.allocate("loss", DType::kF64, 1);
  add_losses(*table_, dtype_, passes, device, runtime_.ops(), *params_, arena, total);
  double sum = 0.0;
  device.copy(total, View::of(std::span<double>(&sum, 1)), stream());
  stream().synchronize();
  runtime_.ops().set_workspace({});
  return sum;
}

}  // namespace llama_zero
