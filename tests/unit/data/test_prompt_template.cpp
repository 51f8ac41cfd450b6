#include <doctest/doctest.h>

#include "data/prompt_template.h"

namespace llama_zero {

TEST_CASE("the prompt without input is Stanford's, to the letter") {
  CHECK(format_prompt("Name a colour.", "") ==
        "Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nName a colour.\n\n### Response:\n");
}

TEST_CASE("the prompt with input is Stanford's, to the letter") {
  CHECK(format_prompt("Add.", "1 2") ==
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### "
        "Response:\n");
}

TEST_CASE("text of a row is never taken for a placeholder") {
  CHECK(format_prompt("{input}", "{instruction}").find("### Instruction:\n{input}\n\n### Input:\n{instruction}\n") !=
        std::string::npos);
}

TEST_CASE("the template's fingerprint is pinned: token files of older programs are known by it") {
  CHECK(template_fingerprint() == 480156579145816273U);
}

}  // namespace llama_zero
