// SentencePiece (Kudo and Richardson, EMNLP 2018), as Llama-2 uses it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace llama_zero {

/// Read-only after construction; may be used from several threads at once.
class Tokenizer {
 public:
  /// Throws Error when the file is missing, is no SentencePiece model, or has no BOS or no EOS.
  explicit Tokenizer(const fs::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Pieces of `text` without BOS or EOS, appended to `ids`. Control symbols written in the text are text.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const;
  std::vector<std::int32_t> encode(std::string_view text) const;

  /// Text of `ids`. BOS, EOS and other control ids leave nothing; an id outside the vocabulary (a model may have more
  /// rows than the tokenizer has pieces) reads as the unknown piece.
  std::string decode(std::span<const std::int32_t> ids) const;

  std::int32_t vocab_size() const;
  std::int32_t bos_id() const;
  std::int32_t eos_id() const;
  std::int32_t unk_id() const;

  /// Hash of the model file's bytes.
  std::uint64_t fingerprint() const;
  const fs::path& path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llama_zero
