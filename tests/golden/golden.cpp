#include "tests/golden/golden.h"

#include <algorithm>
#include <cmath>

#include "model/config_json.h"
#include "model/host_floats.h"
#include "model/transformer.h"
#include "tests/golden/rule.h"
#include "tests/support/source_folder.h"

namespace llama_zero::test {
namespace {

constexpr std::size_t kArenaBytes = std::size_t{192} << 20U;
constexpr std::int64_t kWorkspaceBytes = std::int64_t{64} << 20U;
constexpr std::size_t kPassMultiple = 16;

fs::path golden_folder() { return source_folder() / "tests" / "data" / "golden"; }

void append_document(Pass& pass, const TokenIds& tokens) {
  const auto length = static_cast<std::int64_t>(tokens.size());
  const std::int64_t prompt = std::max<std::int64_t>(1, length / 3);
  for (std::int64_t i = 0; i < length; ++i) {
    const bool counts = i + 1 >= prompt && i + 1 < length;
    pass.tokens.push_back(tokens[static_cast<std::size_t>(i)]);
    pass.positions.push_back(static_cast<std::int32_t>(i));
    pass.targets.push_back(counts ? tokens[static_cast<std::size_t>(i) + 1] : kIgnoreTarget);
    pass.loss_tokens += counts ? 1 : 0;
  }
  pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens.size()));
  pass.longest = std::max(pass.longest, length);
  pass.rows += 1;
}

void append_padding(Pass& pass) {
  pass.attended_tokens = pass.tokens_count();
  for (std::int32_t position = 0; pass.tokens.size() % kPassMultiple != 0; ++position) {
    pass.tokens.push_back(0);
    pass.positions.push_back(position);
    pass.targets.push_back(kIgnoreTarget);
  }
  if (pass.tokens_count() > pass.attended_tokens)
    pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens.size()));
}

/// Gradients in device memory, one buffer a unit.
class DeviceSink final : public GradSink {
 public:
  DeviceSink(const ParamTable& table, Arena& arena) {
    for (const Unit& unit : table.units()) views_.push_back(arena.allocate("gradients", DType::kF32, unit.numel));
  }
  UnitGradient acquire(int unit, Stream&) override { return {views_[static_cast<std::size_t>(unit)], false}; }
  void commit(int, Stream&) override {}
  const std::vector<View>& views() const { return views_; }

 private:
  std::vector<View> views_;
};

}  // namespace

Golden::Golden(const std::string& case_name)
    : name(case_name),
      json(nlohmann::json::parse(MappedFile(golden_folder() / (case_name + ".json")).text())),
      config(parse_config_json(json["config"].dump(), case_name + ".json").model),
      results(golden_folder() / (case_name + ".safetensors")) {}

std::vector<float> Golden::result(const std::string& tensor) const {
  std::vector<float> values(static_cast<std::size_t>(results.find(tensor).numel));
  results.read(tensor, 0, values);
  return values;
}

Pass Golden::pass() const {
  std::vector<TokenIds> documents;
  for (const std::int64_t length : json["lengths"]) {
    documents.push_back(golden_document(name, documents.size(), length, config.vocab_size));
  }
  return pack_documents(documents);
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(golden_folder())) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

TokenIds golden_document(const std::string& set, std::size_t number, std::int64_t length, std::int64_t vocab) {
  const HashRule rule(fmt::format("{}.document.{}", set, number));
  TokenIds tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(rule.token(static_cast<std::uint64_t>(i), vocab));
  return tokens;
}

Pass pack_documents(std::span<const TokenIds> documents) {
  Pass pass;
  pass.cu_seqlens.push_back(0);
  for (const TokenIds& tokens : documents) append_document(pass, tokens);
  append_padding(pass);
  return pass;
}

UnitReader golden_weights(const ParamTable& table) {
  return [&table](int unit, std::int64_t begin, std::span<float> out) {
    const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
    for (const int index : table.units()[static_cast<std::size_t>(unit)].params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      for (const HfSlice& slice : param.hf) {
        const HashRule rule(slice.name);
        const std::int64_t first = param.offset + slice.row_begin * param.columns;
        const std::int64_t last = first + slice.rows * param.columns;
        for (std::int64_t i = std::max(begin, first); i < std::min(end, last); ++i) {
          const auto element = static_cast<std::uint64_t>(i - first);
          const bool norm = param.init == InitRule::kOnes;
          out[static_cast<std::size_t>(i - begin)] = norm ? rule.norm_weight(element) : rule.weight(element);
        }
      }
    }
  };
}

double distance(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2.0);
    size += std::pow(static_cast<double>(b[i]), 2.0);
  }
  return std::sqrt(difference / size);
}

double worst(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double here = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(here <= difference)) difference = here;  // keeps a NaN
    size = std::max(size, std::fabs(static_cast<double>(b[i])));
  }
  return difference / size;
}

GoldenModel::GoldenModel(const LlamaConfig& config, DType dtype, const std::string& backend)
    : table_(config),
      dtype_(dtype),
      backend_(make_backend(backend)),
      stream_(backend_.device->create_stream("golden")),
      arena_(*backend_.device, kArenaBytes, "golden"),
      params_(table_, dtype, arena_) {
  backend_.ops->set_workspace(arena_.allocate("workspace", DType::kU8, kWorkspaceBytes));
  params_.load(golden_weights(table_), *backend_.ops, *stream_);
}

Evaluation GoldenModel::evaluate(const Pass& pass) {
  const Arena::Scope scope(arena_);
  Device& device = *backend_.device;
  DeviceSink sink(table_, arena_);
  const View loss = arena_.allocate("loss", DType::kF64, 1);
  const View logits = arena_.allocate("logits", dtype_, pass.tokens_count() * table_.config().vocab_size);
  TransformerOptions options;
  options.dtype = dtype_;
  Transformer model(table_, options, pass.longest, device, *backend_.ops, arena_);
  backend_.ops->fill({loss, 0.0}, *stream_);
  model.forward_backward(pass, {}, params_, sink, loss, *stream_);
  model.forward_logits(pass, params_, logits, *stream_);
  Evaluation result;
  device.copy(loss, View::of(std::span<double>(&result.loss, 1)), *stream_);
  result.logits = copy_to_host_floats(logits, device, *stream_);
  for (const View& view : sink.views()) result.gradients.push_back(copy_to_host_floats(view, device, *stream_));
  return result;
}

std::vector<TokenIds> GoldenModel::greedy(std::span<const TokenIds> prompts, std::int64_t count) {
  const Arena::Scope scope(arena_);
  GeneratorOptions options;
  options.dtype = dtype_;
  options.max_positions = 128;
  GenerationRequest request;
  request.max_new_tokens = count;
  request.eos_token_ids.clear();
  Generator generator(table_, options, *backend_.device, *backend_.ops, arena_);
  return generator.generate(prompts, request, params_, *stream_);
}

}  // namespace llama_zero::test
