// From what a config says to the type that the schema wants, with the leniency that DeepSpeed's sections have.
#pragma once

#include <string>
#include <string_view>

#include "launcher/json_value.h"
#include "launcher/schema.h"

namespace llama_zero {

/// Converts `value` to the key's type and checks its range. Strict sections take "200", 2e8, "true", 1 where an integer
/// or a bool is wanted; loose ones take no strings; both take integral floats for integers. `where` ("ds.json:12")
/// leads the message of the Error.
JsonValue coerce_value(const SchemaKey& key, const JsonValue& value, Strictness strictness, std::string_view where);

/// The default as a value; throws Error (a fault of the table) when the default is words, not JSON.
JsonValue default_value(const SchemaKey& key);

bool same_value(const JsonValue& a, const JsonValue& b);

/// True when a key of status kRejected holds a value that it may hold.
bool is_accepted(const SchemaKey& key, const JsonValue& value);

std::string lower_case(std::string_view text);

}  // namespace llama_zero
