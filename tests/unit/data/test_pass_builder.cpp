#include <doctest/doctest.h>

#include <vector>

#include "data/pass_builder.h"

namespace llama_zero {
namespace {

using Ids = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("targets are the next token, ignored inside the prompt and at each document's end") {
  Pass pass;
  append_document(pass, Ids{1, 10, 11, 12, 2}, 3, false);
  append_document(pass, Ids{1, 20, 2}, 1, false);
  CHECK(pass.tokens == Ids{1, 10, 11, 12, 2, 1, 20, 2});
  CHECK(pass.targets == Ids{-100, -100, 12, 2, -100, 20, 2, -100});
  CHECK(pass.positions == Ids{0, 1, 2, 3, 4, 0, 1, 2});
  CHECK(pass.cu_seqlens == Ids{0, 5, 8});
  CHECK(pass.attended_tokens == 8);
  CHECK(pass.longest == 5);
  CHECK(pass.loss_tokens == 4);
  CHECK(pass.rows == 2);
}

TEST_CASE("training on the prompt counts every token but the first") {
  Pass pass;
  append_document(pass, Ids{1, 10, 11, 12, 2}, 3, true);
  CHECK(pass.targets == Ids{10, 11, 12, 2, -100});
  CHECK(pass.loss_tokens == 4);
}

TEST_CASE("a document that is prompt only has no loss token") {
  Pass pass;
  append_document(pass, Ids{1, 10, 11}, 3, false);
  CHECK(pass.targets == Ids{-100, -100, -100});
  CHECK(pass.loss_tokens == 0);
  CHECK(document_loss_tokens(3, 3, false) == 0);
  CHECK(document_loss_tokens(3, 3, true) == 2);
  CHECK(document_loss_tokens(3, 0, false) == 2);
}

TEST_CASE("padding is one document that nothing attends to or learns from") {
  Pass pass;
  append_document(pass, Ids{1, 10, 2}, 2, false);
  pad_pass(pass, 8);
  CHECK(pass.tokens == Ids{1, 10, 2, 0, 0, 0, 0, 0});
  CHECK(pass.targets == Ids{-100, 2, -100, -100, -100, -100, -100, -100});
  CHECK(pass.positions == Ids{0, 1, 2, 0, 0, 0, 0, 0});
  CHECK(pass.cu_seqlens == Ids{0, 3, 8});
  CHECK(pass.attended_tokens == 3);
  CHECK(pass.rows == 1);
}

TEST_CASE("a full pass gets no padding, an empty one is padding only") {
  Pass full;
  append_document(full, Ids{1, 10, 11, 2}, 2, false);
  pad_pass(full, 4);
  CHECK(full.cu_seqlens == Ids{0, 4});
  Pass empty;
  pad_pass(empty, 4);
  CHECK(empty.tokens == Ids{0, 0, 0, 0});
  CHECK(empty.targets == Ids{-100, -100, -100, -100});
  CHECK(empty.cu_seqlens == Ids{0, 4});
  CHECK(empty.attended_tokens == 0);
  CHECK(empty.longest == 0);
  CHECK(empty.rows == 0);
}

}  // namespace llama_zero
