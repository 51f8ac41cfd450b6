#include "launcher/json_value.h"

namespace llama_zero {

const JsonValue* JsonValue::find(std::string_view key) const {
  const Object* object = as_object();
  if (object == nullptr) return nullptr;
  for (const Member& member : *object) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

JsonValue* JsonValue::find(std::string_view key) {
  return const_cast<JsonValue*>(static_cast<const JsonValue*>(this)->find(key));
}

std::string_view JsonValue::type_name() const {
  switch (data.index()) {
    case 0:
      return "null";
    case 1:
      return "a bool";
    case 2:
      return "an integer";
    case 3:
      return "a number";
    case 4:
      return "a string";
    case 5:
      return "a list";
    default:
      return "an object";
  }
}

}  // namespace llama_zero
