#include "kernels/check.h"

#include "kernels/planning_ops.h"
#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::DocumentSet;
using test::Tensor;

template <typename Args>
std::string message_of(const Args& args) {
  try {
    check(args);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("a wrong element count throws and names op and argument") {
  Tensor four(DType::kF32, 4);
  Tensor six(DType::kF32, 6);
  const Tensor tokens = Tensor::ints({0, 1});
  CHECK(message_of(EmbeddingForward{2, 2, 3, tokens, four, four}) ==
        "embedding_forward: table has 4 elements, expected 6");
  CHECK(message_of(EmbeddingBackward{2, 2, 3, tokens, six, six}) ==
        "embedding_backward: grad_output has 6 elements, expected 4");
  CHECK(message_of(LinearForward{2, 2, 3, four, six, four}) == "linear_forward: output has 4 elements, expected 6");
  CHECK(message_of(LinearBackwardInput{2, 2, 3, six, six, six}) ==
        "linear_backward_input: grad_input has 6 elements, expected 4");
  CHECK(message_of(LinearBackwardWeight{2, 2, 3, six, four, four}) ==
        "linear_backward_weight: grad_weight has 4 elements, expected 6");
  CHECK(message_of(SwiGluForward{1, 2, four, four}) == "swiglu_forward: output has 4 elements, expected 2");
  CHECK(message_of(SwiGluBackward{1, 2, four, four, four}) ==
        "swiglu_backward: grad_output has 4 elements, expected 2");
  CHECK(message_of(Cast{four, six}) == "cast: destination has 6 elements, expected 4");
  CHECK(message_of(Add{four, six}) == "add: destination has 6 elements, expected 4");
  CHECK(message_of(ReducePieces{2, four, 1.0, four}) == "reduce_pieces: pieces has 4 elements, expected 8");
  CHECK(message_of(RmsNormForward{2, 2, 1e-5, four, {}, four, {}, four, four}) ==
        "rmsnorm_forward: weight has 4 elements, expected 2");
  CHECK(message_of(RmsNormBackward{2, 2, four, four, six.view().slice(0, 2), six.view().slice(0, 2), {}, six, six}) ==
        "rmsnorm_backward: grad_input has 6 elements, expected 4");
}

TEST_CASE("a wrong dtype throws and names op and argument") {
  Tensor f32(DType::kF32, 2);
  Tensor f16(DType::kF16, 2);
  Tensor f64(DType::kF64, 2);
  const Tensor ids = Tensor::ints({0, 0});
  CHECK(message_of(CrossEntropy{1, 2, f16, ids, f32, 1.0, {}}) == "cross_entropy: targets has 2 elements, expected 1");
  CHECK(message_of(CrossEntropy{2, 1, f16, ids, f16, 1.0, {}}) == "cross_entropy: losses holds fp16, expected fp32");
  CHECK(message_of(CrossEntropy{2, 1, f64, ids, f32, 1.0, {}}) == "cross_entropy: losses holds fp32, expected fp64");
  CHECK(message_of(SumLosses{f16, f64}) == "sum_losses: values must hold fp32 or fp64");
  CHECK(message_of(SumLosses{f32, f32}) == "sum_losses: total holds fp32, expected fp64");
  CHECK(message_of(SumOfSquares{ids, f64}) == "sum_of_squares: values holds int32, must be floating-point");
  CHECK(message_of(SumOfSquares{f16, f32}) == "sum_of_squares: result holds fp32, expected fp64");
  CHECK(message_of(Fill{Tensor::ints({1}).view(), 1.0}) == "fill: destination holds int32, must be floating-point");
  CHECK(message_of(AdamW{f32, f32, f16, f16, f16, ids}) == "adamw: exp_avg_sq holds fp16, expected fp32");
  CHECK(message_of(AdamW{f16, f32, f32, f16, f16, ids}) == "adamw: master must hold fp32 or fp64");
  CHECK(message_of(AdvanceStep{1, f64, f32, f32, {}, 0.0}) == "advance_step: state holds fp32, expected uint8");
  CHECK(message_of(LinearForward{1, 2, 1, f32, f16, f32}) == "linear_forward: weight holds fp16, expected fp32");
}

TEST_CASE("a residual without a sum, or a sum without a residual, throws") {
  Tensor two(DType::kF32, 2);
  const Tensor one(DType::kF32, 1);
  CHECK(message_of(RmsNormForward{1, 2, 1e-5, two, two, two, {}, two, two}) ==
        "rmsnorm_forward: sum must be given exactly when residual is");
  CHECK(message_of(RmsNormForward{1, 2, 1e-5, two, {}, two, two, two, two}) ==
        "rmsnorm_forward: sum must be given exactly when residual is");
}

TEST_CASE("head counts and head_dim outside the contract throw") {
  Tensor t(DType::kF32, 0);
  const Tensor ids = Tensor::ints({});
  CHECK(message_of(Rope{0, 3, 2, 8, 4, t, ids, t}) == "rope: query_heads 3 is not a multiple of kv_heads 2");
  CHECK(message_of(Rope{0, 2, 2, 12, 4, t, ids, t}) == "rope: head_dim is 12, must be a multiple of 8 up to 256");
  CHECK(message_of(Rope{0, 2, 2, 264, 4, t, ids, t}) == "rope: head_dim is 264, must be a multiple of 8 up to 256");
  CHECK(message_of(Rope{0, 2, 0, 8, 4, t, ids, t}) == "rope: kv_heads is 0, must be positive");
}

std::string attention_message(const DocumentSet& set, std::int64_t longest, std::int64_t attended) {
  const std::int64_t tokens = set.tokens();
  Tensor qkv(DType::kF32, tokens * 24);
  Tensor output(DType::kF32, tokens * 8);
  Tensor lse(DType::kF32, tokens);
  Documents documents = set.documents();
  documents.longest = longest;
  documents.attended_tokens = attended;
  return message_of(AttentionForward{tokens, 1, 1, 8, 1.0, qkv, documents, output, lse});
}

TEST_CASE("inconsistent documents throw") {
  const DocumentSet set({3, 5}, 2);
  CHECK(attention_message(set, 5, 8).empty());
  CHECK(attention_message(set, 4, 8) == "attention_forward: documents.longest is 4, document 1 has 5 tokens");
  CHECK(attention_message(set, 5, 7) == "attention_forward: documents.attended_tokens 7 is not where a document ends");
  DocumentSet falling = set;
  falling.cu[1] = 9;
  CHECK(attention_message(falling, 9, 8) ==
        "attention_forward: documents.host_cu_seqlens falls from 9 to 8 at document 1");
  DocumentSet late = set;
  late.cu[0] = 1;
  CHECK(attention_message(late, 5, 8) ==
        "attention_forward: documents.host_cu_seqlens must start at 0 and end at tokens_count 10");
}

TEST_CASE("a full cache cannot take another token") {
  Tensor qkv(DType::kF32, 24);
  Tensor cache(DType::kF32, 16);
  Tensor output(DType::kF32, 8);
  const std::vector<std::int32_t> full = {2};
  const Tensor lengths = Tensor::ints(full);
  CHECK(message_of(AttentionDecode{1, 1, 1, 8, 2, 1.0, qkv, lengths, full, cache, cache, output}) ==
        "attention_decode: host_lengths must leave a free slot in the cache");
}

TEST_CASE("a document longer than the cache cannot be stored") {
  const DocumentSet set({3}, 0);
  Tensor qkv(DType::kF32, 3 * 24);
  Tensor cache(DType::kF32, 16);
  CHECK(message_of(StoreKeyValue{3, 1, 1, 8, 2, qkv, set.documents(), cache, cache}) ==
        "store_key_value: capacity is smaller than the longest document");
}

TEST_CASE("a workspace that is too small throws and says how much is needed") {
  Cpu cpu;
  const Tensor x = Tensor::random(DType::kF16, 8, 1);
  Tensor y(DType::kF16, 4);
  cpu.ops().set_workspace({});
  const LinearForward args{2, 4, 2, x, x, y};
  const std::string wanted =
      "linear_forward: workspace has 0 bytes, needs " + std::to_string(cpu.ops().workspace_bytes(args));
  CHECK_THROWS_WITH_AS(cpu.ops().linear_forward(args, cpu.stream()), wanted.c_str(), Error);
}

TEST_CASE("the planning backend checks, computes nothing and remembers the largest workspace") {
  Cpu cpu(2);
  PlanningOps planning(cpu.ops());
  const auto null_device = make_null_device();
  const auto stream = null_device->create_stream("plan");
  std::byte* memory = null_device->allocate(1 << 20);  // addresses without storage: touching them would crash
  const auto view = [&](std::int64_t count) { return View(memory, count, DType::kF16); };
  const LinearForward small{64, 8, 8, view(512), view(64), view(512)};
  const LinearForward large{512, 64, 64, view(32768), view(4096), view(32768)};
  planning.linear_forward(large, *stream);
  planning.linear_forward(small, *stream);
  planning.swiglu_forward(SwiGluForward{4, 8, view(64), view(32)}, *stream);
  CHECK(planning.largest_workspace() == cpu.ops().workspace_bytes(large));
  CHECK(planning.workspace_bytes(small) == cpu.ops().workspace_bytes(small));
  CHECK(planning.largest_workspace() > planning.workspace_bytes(small));
  CHECK_THROWS_AS(planning.linear_forward(LinearForward{64, 8, 8, view(1), view(64), view(512)}, *stream), Error);
  null_device->deallocate(memory, 1 << 20);
}

}  // namespace
}  // namespace llama_zero
