// Files that somebody damaged or made to do harm: each is refused with one line that says what is wrong.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "model/config_json.h"
#include "model/hf_folder.h"
#include "tests/support/model_fixture.h"
#include "tests/support/temporary_folder.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

void write_bytes(const fs::path& path, const std::string& bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

/// What `read` says; empty when it says nothing.
template <typename Read>
std::string message_of(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

void check_message(const std::string& what, const std::string& message, const std::string& origin,
                   const std::string& expected) {
  INFO(what, " says: ", message);
  CHECK(message == origin + ": " + expected);
  CHECK(message.find('\n') == std::string::npos);
}

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xffU);
  return bytes;
}

struct Safetensors {
  const char* what;
  std::string header;
  std::size_t data_bytes;
  const char* expected;
};

std::string tensor(const std::string& fields) { return "{\"w\":{" + fields + "}}"; }

const std::string kOne = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";

std::vector<Safetensors> malformed_headers() {
  return {
      {"an empty header", "", 0, "the header is not a JSON object: Empty: no JSON found"},
      {"text that is no JSON", "{\"w\":", 0,
       "the header is not a JSON object: The JSON document has an improper structure: missing or superfluous commas, "
       "braces, missing keys, etc."},
      {"a list", "[]", 0, "the header is not a JSON object: The JSON element does not have the requested type."},
      {"brackets nested a hundred thousand deep", "{\"w\":" + std::string(100000, '[') + std::string(100000, ']') + "}",
       0, "the header is not a JSON object: The JSON document was too deep (too many nested objects and arrays)"},
      {"bytes that are no UTF-8", "{\"\xff\xfe\":1}", 0,
       "the header is not a JSON object: The input is not valid UTF-8"},
      {"a tensor that is no object", "{\"w\":7}", 0, "tensor 'w' must be an object"},
      {"no dtype", tensor(R"("shape":[1],"data_offsets":[0,4])"), 4, "tensor 'w' has no dtype"},
      {"a dtype that is a number", tensor(R"("dtype":4,"shape":[1],"data_offsets":[0,4])"), 4,
       "tensor 'w' has no dtype"},
      {"a dtype nobody knows", tensor(R"("dtype":"F31","shape":[1],"data_offsets":[0,4])"), 4,
       "tensor 'w' has unknown dtype 'F31'"},
      {"a dtype over two lines", tensor(R"("dtype":"F\n32","shape":[1],"data_offsets":[0,4])"), 4,
       "tensor 'w' has unknown dtype 'F\\x0a32'"},
      {"no shape", tensor(R"("dtype":"F32","data_offsets":[0,4])"), 4, "tensor 'w' has no shape"},
      {"a negative size", tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4,
       "tensor 'w' has a shape that is no natural number"},
      {"half an element", tensor(R"("dtype":"F32","shape":[0.5],"data_offsets":[0,4])"), 4,
       "tensor 'w' has a shape that is no natural number"},
      {"a size beyond 64 bits", tensor(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])"), 4,
       "tensor 'w' has a shape that is no natural number"},
      {"sizes whose product overflows to 0",
       tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), 0,
       "tensor 'w' has an impossible shape"},
      {"bytes that overflow", tensor(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])"), 0,
       "tensor 'w' has an impossible shape"},
      {"no offsets", tensor(R"("dtype":"F32","shape":[1])"), 4, "tensor 'w' has no data_offsets"},
      {"three offsets", tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,2,4])"), 4,
       "tensor 'w' needs two data_offsets"},
      {"offsets that run backwards", tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4,
       "tensor 'w' lies at bytes 4..0 of 4 bytes of data: truncated or damaged"},
      {"an end behind the file", tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 4,
       "tensor 'w' lies at bytes 0..8 of 4 bytes of data: truncated or damaged"},
      {"an end near 2^63",
       tensor(R"("dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807])"), 4,
       "tensor 'w' lies at bytes 0..9223372036854775807 of 4 bytes of data: truncated or damaged"},
      {"more bytes than the shape has", tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), 8,
       "tensor 'w' needs 4 bytes, its data_offsets hold 8"},
      {"a gap before a tensor", tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8,
       "4 bytes before tensor 'w' belong to no tensor"},
      {"bytes behind the last tensor", tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 12,
       "the last 8 bytes belong to no tensor"},
      {"a tensor twice", "{\"w\":" + kOne + ",\"w\":" + kOne + "}", 4, "tensor 'w' is there twice"},
      {"two tensors on the same bytes", "{\"a\":" + kOne + ",\"b\":" + kOne + "}", 4, "tensor 'b' overlaps another"},
      {"two dtypes of one tensor", tensor(R"("dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4])"), 4,
       "tensor 'w' has a field twice"},
      {"a name with a line break", R"({"a\nb":7})", 0, "tensor 'a\\x0ab' must be an object"},
  };
}

struct Config {
  const char* what;
  std::string text;
  const char* expected;
};

std::string config_with(const std::string& more, const std::string& heads = "4") {
  return R"({"model_type":"llama","vocab_size":100,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,)"
         R"("num_attention_heads":)" +
         heads + (more.empty() ? "" : "," + more) + "}";
}

std::vector<Config> malformed_configs() {
  return {
      {"nothing", "", "not a JSON object: Empty: no JSON found"},
      {"a string", "\"llama\"", "not a JSON object: The JSON element does not have the requested type."},
      {"objects nested two thousand deep", R"({"a":)" + std::string(2000, '[') + std::string(2000, ']') + "}",
       "not a JSON object: The JSON document was too deep (too many nested objects and arrays)"},
      {"no model type", "{}", "model_type '' is not supported, only 'llama'"},
      {"another model over two lines", R"({"model_type":"gpt\n2"})",
       "model_type 'gpt\\x0a2' is not supported, only 'llama'"},
      {"another class", config_with(R"("architectures":["LlamaForSequenceClassification"])"),
       "architecture 'LlamaForSequenceClassification' is not supported, only 'LlamaForCausalLM'"},
      {"a field twice", config_with(R"("vocab_size":50)"), "field 'vocab_size' is there twice"},
      {"no heads", config_with("", "0"), "field 'num_attention_heads' must be positive"},
      {"negative heads", config_with("", "-4"), "field 'num_attention_heads' must be positive"},
      {"a head count beyond 64 bits", config_with("", "99999999999999999999"),
       "not a JSON object: Problem while parsing a number"},
      {"a fraction of a layer", config_with(R"("max_position_embeddings":2.5)"),
       "field 'max_position_embeddings' must be an integer"},
      {"a head dimension out of range", config_with(R"("head_dim":4294967296)"),
       "model config: head_dim = 4294967296 must be between 1 and 2147483647"},
      {"an eps of zero", config_with(R"("rms_norm_eps":0)"),
       "model config: rms_norm_eps = 0 must be a positive number"},
      {"an eps that is no double", config_with(R"("rms_norm_eps":1e400)"),
       "not a JSON object: Problem while parsing a number"},
      {"scaling that is a number", config_with(R"("rope_scaling":2)"), "field 'rope_scaling' must be an object"},
      {"scaling without factor", config_with(R"("rope_scaling":{"type":"linear"})"),
       "rope_scaling: field 'factor' is missing"},
      {"scaling that shrinks", config_with(R"("rope_scaling":{"type":"linear","factor":0.5})"),
       "model config: rope_scaling.factor = 0.5 must be a number from 1 on"},
      {"scaling bands out of order",
       config_with(R"("rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,)"
                   R"("original_max_position_embeddings":8192})"),
       "model config: rope_scaling.high_freq_factor = 1 must be more than low_freq_factor = 4"},
      {"an end token that is text", config_with(R"("eos_token_id":["</s>"])"),
       "field 'eos_token_id' must be an integer"},
      {"a negative end token", config_with(R"("eos_token_id":-1)"), "field 'eos_token_id' = -1 is no token id"},
      {"two billion layers",
       R"({"model_type":"llama","vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":2000000000,)"
       R"("num_attention_heads":1})",
       "model config: num_hidden_layers = 2000000000 must be at most 4096"},
      {"a matrix beyond all memory",
       R"({"model_type":"llama","vocab_size":2147483647,"hidden_size":2147483640,"intermediate_size":8,)"
       R"("num_hidden_layers":1,"num_attention_heads":8,"head_dim":8})",
       "model config: embedding of 2147483647 x 2147483640 elements is impossibly large"},
  };
}

struct Index {
  const char* what;
  const char* text;
  const char* expected;
};

const std::vector<Index> kIndexes = {
    {"nothing", "", "no object 'weight_map': Empty: no JSON found"},
    {"no map", "{}", "no object 'weight_map': The JSON field referenced does not exist in this object."},
    {"a list", R"({"weight_map":[]})", "no object 'weight_map': The JSON element does not have the requested type."},
    {"a file that is a number", R"({"weight_map":{"w":1}})", "the file of tensor 'w' is no file name"},
    {"a file without a name", R"({"weight_map":{"w":""}})", "the file of tensor 'w' is no file name"},
    {"a file outside the folder", R"({"weight_map":{"w":"../w.safetensors"}})",
     "the file of tensor 'w' is no file name"},
    {"a file by its absolute path", R"({"weight_map":{"w":"/etc/passwd"}})", "the file of tensor 'w' is no file name"},
    {"a file name with a hidden end", R"({"weight_map":{"w":"w.safetensors\u0000.bin"}})",
     "the file of tensor 'w' is no file name"},
    {"a tensor twice", R"({"weight_map":{"w":"w.safetensors","w":"w.safetensors"}})", "tensor 'w' is there twice"},
    {"a tensor that its file lacks", R"({"weight_map":{"v":"w.safetensors"}})",
     "tensor 'v' is not in file w.safetensors, where the index puts it"},
};

}  // namespace

TEST_CASE("malformed safetensors files are refused in one line each") {
  const TemporaryFolder folder;
  const fs::path path = folder / "w.safetensors";
  for (const Safetensors& entry : malformed_headers()) {
    write_bytes(path, little_endian(entry.header.size()) + entry.header + std::string(entry.data_bytes, '\1'));
    check_message(entry.what, message_of([&] { SafetensorsFile{path}; }), path.string(), entry.expected);
  }
  const auto check_bytes = [&](const char* what, const std::string& bytes, const char* expected) {
    write_bytes(path, bytes);
    check_message(what, message_of([&] { SafetensorsFile{path}; }), path.string(), expected);
  };
  check_bytes("seven bytes", std::string(7, '\0'), "7 bytes are too few for a safetensors file");
  check_bytes("a header longer than the file", little_endian(100) + "{}",
              "header of 100 bytes does not fit into a file of 10 bytes: truncated, or not a safetensors file");
  check_bytes("a header of 2^64 - 1 bytes", little_endian(UINT64_MAX) + "{}",
              "header of 18446744073709551615 bytes does not fit into a file of 10 bytes: truncated, or not a "
              "safetensors file");
}

TEST_CASE("malformed model configs are refused in one line each") {
  for (const Config& entry : malformed_configs()) {
    check_message(entry.what, message_of([&] { parse_config_json(entry.text, "config.json"); }), "config.json",
                  entry.expected);
  }
}

TEST_CASE("malformed indexes are refused in one line each") {
  const TemporaryFolder folder;
  write_bytes(folder / "config.json", format_config_json({small_config(), {}}));
  const std::string header = "{\"w\":" + kOne + "}";
  write_bytes(folder / "w.safetensors", little_endian(header.size()) + header + std::string(4, '\0'));
  const fs::path path = folder / "model.safetensors.index.json";
  for (const Index& entry : kIndexes) {
    write_bytes(path, entry.text);
    check_message(entry.what, message_of([&] { HfFolder{folder.path()}; }), path.string(), entry.expected);
  }
}

TEST_CASE("links and folders where a weight file should be are followed or refused by name") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  const fs::path real = folder / "elsewhere";
  write_hf_folder(real, table, {}, {}, [&](int unit, std::vector<float>& out) {
    out.assign(static_cast<std::size_t>(table.units()[static_cast<std::size_t>(unit)].numel), 0.5F);
  });
  const fs::path model = folder / "model";
  create_folder(model);
  write_bytes(model / "config.json", format_config_json({small_config(), {}}));
  const fs::path weights = model / "model.safetensors";
  fs::create_symlink(real / "model.safetensors", weights);  // as in Hugging Face's cache
  CHECK_NOTHROW(HfFolder{model});
  fs::remove(weights);
  fs::create_symlink(weights, weights);
  CHECK(message_of([&] { HfFolder{model}; }) ==
        model.string() + ": has neither model.safetensors nor model.safetensors.index.json");
  fs::remove(weights);
  create_folder(weights);
  const std::string message = message_of([&] { HfFolder{model}; });
  INFO(message);
  CHECK(message.find(weights.string()) != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}
