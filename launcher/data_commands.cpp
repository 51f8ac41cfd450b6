#include "launcher/data_commands.h"

#include <optional>

#include "core/log.h"
#include "data/tokenizer.h"
#include "launcher/bundled.h"
#include "launcher/data_source.h"

namespace llama_zero {

int run_tokenize(const TokenizeArguments& arguments, const HostGroup& group) {
  std::optional<Tokenizer> tokenizer;
  group.together(
      [&] { tokenizer.emplace(arguments.tokenizer.empty() ? bundled_tokenizer() : fs::path(arguments.tokenizer)); });
  const DataSource data = open_data(arguments.data.string(), *tokenizer, arguments.sequence_length, group);
  for (const std::string& note : data.notes) log::info("{}", note);
  return 0;
}

int run_sample(const SampleArguments& arguments, const HostGroup& group) {
  group.on_root([&] {
    const SampleFiles files = write_sample(arguments.output);
    log::info("{}\n{}", files.train.string(), files.held_out.string());
  });
  return 0;
}

}  // namespace llama_zero
