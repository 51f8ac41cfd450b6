// Reads the JSON dialect of config files: JSON with comments (#, //, /* */) and trailing commas.
//
// Comments and trailing commas are blanked in place, so every offset stays that of the file, then simdjson parses.
// Unquoted keys and omitted commas (the rest of Hjson) are errors. Duplicate keys are errors at any level, as in
// DeepSpeed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "launcher/json_value.h"

namespace llama_zero {

/// Overwrites comments and trailing commas outside strings with spaces; the length and the line ends do not change.
/// Throws Error "<name>:<line>:<column>: ..." for a string, comment or bracket that does not end, and for a bracket
/// that closes nothing.
void blank_comments(std::string& text, std::string_view name);

/// Parses a document whose root is an object. Throws Error "<name>:<line>:<column>: what is wrong".
JsonValue parse_json(std::string_view text, std::string_view name);

/// A command line value: JSON if it parses as one value, else the text as a string. Throws Error for text that starts
/// like a list or an object but is none.
JsonValue parse_json_value(std::string_view text, std::string_view name);

/// Sets `path` ("zero_optimization.stage") in the tree, making objects on the way; a value that is no object and stands
/// in the way throws Error. An object merges into an object key by key; anything else replaces.
void merge_at(JsonValue& root, std::string_view path, JsonValue value);

/// JSON on one line, or indented; doubles print the shortest text that reads back to the same value.
std::string to_json_text(const JsonValue& value, int indent = -1);

/// 1-based "line:column" of a byte offset.
std::string line_and_column(std::string_view text, std::size_t offset);

}  // namespace llama_zero
