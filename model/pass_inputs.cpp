#include "model/pass_inputs.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "model/activations.h"

namespace llama_zero {
namespace {

void check_documents(const Pass& pass) {
  const std::vector<std::int32_t>& starts = pass.cu_seqlens;
  const std::int64_t count = pass.tokens_count();
  require(starts.size() >= 2 && starts.front() == 0 && starts.back() == count,
          "pass: cu_seqlens must run from 0 to its {} tokens", count);
  const bool padded = pass.attended_tokens != count;
  require(!padded || pass.attended_tokens == starts[starts.size() - 2],
          "pass: attended_tokens {} is neither all {} tokens nor the start of the last document", pass.attended_tokens,
          count);
  const std::size_t attended = starts.size() - 1 - (padded ? 1 : 0);
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const std::int64_t length = std::int64_t{starts[i + 1]} - starts[i];
    require(length >= 1, "pass: document {} has {} tokens", i, length);
    require(i >= attended || length <= pass.longest, "pass: document {} has {} tokens, more than longest = {}", i,
            length, pass.longest);
  }
}

}  // namespace

void check_pass(const Pass& pass, const LlamaConfig& config, std::int64_t max_positions) {
  const std::size_t count = pass.tokens.size();
  require(count > 0, "pass: it has no tokens");
  require(pass.targets.size() == count && pass.positions.size() == count,
          "pass: {} tokens but {} targets and {} positions", count, pass.targets.size(), pass.positions.size());
  require(pass.loss_weights.empty() || pass.loss_weights.size() == count, "pass: {} tokens but {} loss weights", count,
          pass.loss_weights.size());
  check_documents(pass);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t token = pass.tokens[i];
    require(token >= 0 && token < config.vocab_size,
            "pass: token {} at index {} is outside the model's vocabulary of {}", token, i, config.vocab_size);
    const std::int32_t target = pass.targets[i];
    require(target == kIgnoreTarget || (target >= 0 && target < config.vocab_size),
            "pass: target {} at index {} is outside the model's vocabulary of {}", target, i, config.vocab_size);
    const std::int32_t position = pass.positions[i];
    require(position >= 0 && position < max_positions,
            "pass: position {} at index {} is outside the {} that were planned", position, i, max_positions);
  }
}

std::byte* PassStaging::begin(std::size_t bytes) {
  Slot& slot = slots_[next_];
  if (slot.copied) {
    slot.copied->synchronize();
  } else {
    slot.copied = device_.create_event();
  }
  if (!slot.memory || slot.memory->bytes() < bytes) {
    // Passes of a run differ in size: to the next power of two, so that a slot soon has its last memory.
    slot.memory = std::make_unique<HostBuffer>(device_, std::bit_ceil(bytes));
  }
  return slot.memory->data();
}

void PassStaging::end(Stream& stream) {
  slots_[next_].copied->record(stream);
  next_ = (next_ + 1) % kSlots;
}

PassInputs load_pass(const Pass& pass, const LlamaConfig& config, std::int64_t max_positions, PassStaging& staging,
                     Arena& arena, Stream& stream) {
  check_pass(pass, config, max_positions);
  const std::size_t elements = 3 * pass.tokens.size() + pass.cu_seqlens.size() + pass.loss_weights.size();
  std::byte* host = staging.begin(elements * sizeof(std::int32_t));
  const auto upload = [&]<typename T>(const std::vector<T>& values) {
    static_assert(sizeof(T) == sizeof(std::int32_t));
    const auto count = static_cast<std::int64_t>(values.size());
    const View source(host, count, DTypeOf<T>::value);
    std::memcpy(host, values.data(), source.bytes());
    host += source.bytes();
    const View destination = arena.allocate(kActivationsLabel, source.dtype(), count);
    arena.device().copy(source, destination, stream);
    return destination;
  };
  PassInputs inputs;
  inputs.tokens = upload(pass.tokens);
  inputs.targets = upload(pass.targets);
  inputs.positions = upload(pass.positions);
  if (!pass.loss_weights.empty()) inputs.loss_weights = upload(pass.loss_weights);
  inputs.documents.cu_seqlens = upload(pass.cu_seqlens);
  inputs.documents.host_cu_seqlens = pass.cu_seqlens;
  inputs.documents.longest = pass.longest;
  inputs.documents.attended_tokens = pass.attended_tokens;
  staging.end(stream);
  return inputs;
}

}  // namespace llama_zero
