// Trains the sample's SentencePiece model from the sample's rows, with Llama-2's settings and a small vocabulary:
//   train_tokenizer OUTPUT.model [VOCAB_SIZE]
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <ios>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/prompt_template.h"
#include "data/sample/generator.h"

namespace llama_zero::sample {
namespace {

constexpr int kDefaultVocabSize = 1024;

// The fixed parts of the prompt template: what stands before, between and after the row's own text.
std::vector<std::string> template_parts() {
  constexpr std::string_view kInstruction = "\x01";
  constexpr std::string_view kInput = "\x02";
  std::vector<std::string> parts;
  for (const std::string& prompt : {format_prompt(kInstruction, ""), format_prompt(kInstruction, kInput)}) {
    std::size_t start = 0;
    while (true) {
      const std::size_t end = prompt.find_first_of("\x01\x02", start);
      // The leading space is SentencePiece's dummy prefix.
      const std::string part = (start == 0 ? " " : "") + prompt.substr(start, end - start);
      if (std::find(parts.begin(), parts.end(), part) == parts.end()) {
        parts.push_back(part);
      }
      if (end == std::string::npos) break;
      start = end + 1;
    }
  }
  return parts;
}

// Each fixed part becomes one piece, as chat models do with their role marks. In ordinary pieces a row of the sample
// has 46 tokens instead of 20, more than half of them the same in every row, and the training time goes into those.
std::string template_pieces() {
  std::string list;
  for (const std::string& part : template_parts()) {
    list += list.empty() ? "\"" : ",\"";  // quoted, because one part holds a comma
    for (const char c : part) {
      if (c == ' ') {
        list += "\u2581";
      } else {
        list += c;
      }
    }
    list += '"';
  }
  return list;
}

// SentencePiece's own file reader would split the prompts at their newlines, which have to become pieces.
class Texts final : public sentencepiece::SentenceIterator {
 public:
  explicit Texts(std::vector<std::string> texts) : texts_(std::move(texts)) {}
  bool done() const override { return at_ == texts_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return texts_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> texts_;
  std::size_t at_ = 0;
};

std::string train(int vocab_size) {
  std::vector<std::string> texts;
  for (const Row& row : generate().train) {
    texts.push_back(format_prompt(row.instruction, row.input));
    texts.push_back(row.output);  // on its own: prompt and output are encoded apart
  }
  Texts iterator(std::move(texts));

  const std::unordered_map<std::string, std::string> settings{
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"user_defined_symbols", template_pieces()},
      {"allow_whitespace_only_pieces", "true"},
      {"character_coverage", "1.0"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "true"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"num_threads", "1"},
      {"minloglevel", "1"},
  };
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  if (!status.ok()) {
    throw std::runtime_error(status.ToString());
  }
  return model;
}

}  // namespace
}  // namespace llama_zero::sample

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: train_tokenizer OUTPUT.model [VOCAB_SIZE]\n");
    return 2;
  }
  try {
    const std::string model =
        llama_zero::sample::train(argc == 3 ? std::atoi(argv[2]) : llama_zero::sample::kDefaultVocabSize);
    std::ofstream file(argv[1], std::ios::binary);
    file.write(model.data(), static_cast<std::streamsize>(model.size()));
    if (!file.flush()) {
      throw std::runtime_error(std::string("cannot write ") + argv[1]);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_tokenizer: %s\n", error.what());
    return 1;
  }
  return 0;
}
