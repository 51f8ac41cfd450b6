#include "data/prompt_template.h"

#include "core/files.h"

namespace llama_zero {
namespace {

constexpr std::string_view kOpeningWithInput =
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n";
constexpr std::string_view kOpeningWithoutInput =
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n";
constexpr std::string_view kInputHeading = "\n\n### Input:\n";
constexpr std::string_view kResponseHeading = "\n\n### Response:\n";

// To be changed with the rule that data/encode.h states.
constexpr std::string_view kEncodingRule = "BOS + encode(prompt) + encode(output) + EOS, v1";

}  // namespace

std::string format_prompt(std::string_view instruction, std::string_view input) {
  std::string prompt(input.empty() ? kOpeningWithoutInput : kOpeningWithInput);
  prompt += instruction;
  if (!input.empty()) {
    prompt += kInputHeading;
    prompt += input;
  }
  prompt += kResponseHeading;
  return prompt;
}

std::uint64_t template_fingerprint() {
  std::string text(kEncodingRule);
  text += format_prompt("{instruction}", "{input}");
  text += format_prompt("{instruction}", "");
  return hash_text(text);
}

}  // namespace llama_zero
