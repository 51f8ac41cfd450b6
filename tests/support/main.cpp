#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "core/log.h"

int main(int argc, char** argv) {
  llama_zero::log::configure(0, 1, llama_zero::log::Level::kError);  // tests of failures would print warnings
  return doctest::Context(argc, argv).run();
}
