// Fills a Pass (core/pass.h) document by document.
#pragma once

#include <cstdint>
#include <span>

#include "core/pass.h"

namespace llama_zero {

/// Appends `tokens` as one document and row. The target of a token is the next one; it is ignored at the document's
/// last token and, unless train_on_prompt, where the next token is one of the first `prompt_tokens`.
void append_document(Pass& pass, std::span<const std::int32_t> tokens, std::int64_t prompt_tokens,
                     bool train_on_prompt);

/// Targets that count in a document.
std::int64_t document_loss_tokens(std::int64_t tokens, std::int64_t prompt_tokens, bool train_on_prompt);

/// Rounds T up to a multiple of `alignment` with one padding document, which no row, attention or loss counts. Its
/// tokens all stand at position 0: it may be longer than any position the model has. An empty pass becomes one padding
/// document of `alignment` tokens.
void pad_pass(Pass& pass, std::int64_t alignment);

}  // namespace llama_zero
