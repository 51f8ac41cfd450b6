// The data of a run as a token file that every rank has mapped.
#pragma once

#include <string>
#include <vector>

#include "data/token_file.h"
#include "data/tokenizer.h"
#include "launcher/host_group.h"

namespace llama_zero {

struct DataSource {
  fs::path source;  ///< the Alpaca file
  TokenFile tokens;
  std::vector<std::string> notes;  ///< for the header: what was generated, built or found
};

/// Collective. Rank 0 finds or builds the token file of `data` (empty: the bundled sample's training rows, generated on
/// first use), then all map it. Throws AgreedError naming file, row and byte of what is wrong with the data.
DataSource open_data(const std::string& data, const Tokenizer& tokenizer, std::int64_t sequence_length,
                     const HostGroup& group);

}  // namespace llama_zero
