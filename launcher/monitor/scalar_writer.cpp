#include "launcher/monitor/scalar_writer.h"

#include "core/error.h"
#include "core/log.h"

namespace llama_zero {

void ScalarWriters::write(std::span<const Scalar> scalars) {
  if (scalars.empty()) return;
  std::erase_if(writers_, [&](const std::unique_ptr<ScalarWriter>& writer) {
    try {
      writer->write(scalars);
      return false;
    } catch (const Error& error) {
      log::warning("{} is switched off, training goes on: {}", writer->name(), error.what());
      return true;
    }
  });
}

}  // namespace llama_zero
