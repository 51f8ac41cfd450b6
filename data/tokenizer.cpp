#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include <utility>

#include "core/error.h"

namespace llama_zero {

struct Tokenizer::Impl {
  fs::path path;
  std::uint64_t fingerprint = 0;
  sentencepiece::SentencePieceProcessor processor;
};

Tokenizer::Tokenizer(const fs::path& path) : impl_(std::make_unique<Impl>()) {
  const MappedFile file(path);
  const std::string_view model = file.text();
  const auto status = impl_->processor.LoadFromSerializedProto({model.data(), model.size()});
  require(status.ok() && impl_->processor.GetPieceSize() > 0,
          "{} is not a SentencePiece model; give the tokenizer.model of the Llama model", path.string());
  require(bos_id() >= 0 && eos_id() >= 0, "{} has no {} piece; a Llama tokenizer has both <s> and </s>", path.string(),
          bos_id() < 0 ? "begin-of-sentence" : "end-of-sentence");
  impl_->path = path;
  impl_->fingerprint = hash_bytes(file.bytes());
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

void Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::vector<int> pieces;
  const auto status = impl_->processor.Encode({text.data(), text.size()}, &pieces);
  require(status.ok(), "cannot tokenize with {}: {}", impl_->path.string(), status.ToString());
  ids.insert(ids.end(), pieces.begin(), pieces.end());
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  encode(text, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::vector<int> pieces(ids.begin(), ids.end());
  for (int& piece : pieces) {
    if (piece < 0 || piece >= vocab_size()) piece = unk_id();
  }
  std::string text;
  const auto status = impl_->processor.Decode(pieces, &text);
  require(status.ok(), "cannot turn ids into text with {}: {}", impl_->path.string(), status.ToString());
  return text;
}

std::int32_t Tokenizer::vocab_size() const { return impl_->processor.GetPieceSize(); }
std::int32_t Tokenizer::bos_id() const { return impl_->processor.bos_id(); }
std::int32_t Tokenizer::eos_id() const { return impl_->processor.eos_id(); }
std::int32_t Tokenizer::unk_id() const { return impl_->processor.unk_id(); }
std::uint64_t Tokenizer::fingerprint() const { return impl_->fingerprint; }
const fs::path& Tokenizer::path() const { return impl_->path; }

}  // namespace llama_zero
