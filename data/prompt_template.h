// Stanford Alpaca's prompt (train.py of tatsu-lab/stanford_alpaca, PROMPT_DICT): the only template, in its two forms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llama_zero {

/// The prompt that asks for a response; the form without input when `input` is empty. The response follows at once,
/// without a space.
std::string format_prompt(std::string_view instruction, std::string_view input);

/// Hash of the template's text and of the rule by which a row becomes tokens (data/encode.h): changes when either does.
std::uint64_t template_fingerprint();

}  // namespace llama_zero
