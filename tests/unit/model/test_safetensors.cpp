#include <doctest/doctest.h>

#include <cstring>
#include <limits>

#include "core/error.h"
#include "model/safetensors.h"
#include "tests/support/temporary_folder.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

const std::vector<float> kValues{0.0F, -0.0F, 1.0F, -2.5F, 65504.0F, 1e-7F, 3.14159274F, -1e30F};

void write_raw(const fs::path& path, std::uint64_t length, const std::string& header, std::size_t data_bytes) {
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  file.write(std::string(data_bytes, 'x'));
  file.commit();
}

}  // namespace

TEST_CASE("fp32 tensors come back bit for bit") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a.safetensors";
  SafetensorsWriter writer(path, {{"first", {2, 3}}, {"second", {2}}}, DType::kF32);
  writer.append(std::span(kValues).first(5));
  CHECK_FALSE(fs::exists(path));  // nothing under the final name before it is whole
  writer.append(std::span(kValues).subspan(5));
  writer.finish();

  const SafetensorsFile file(path);
  CHECK(file.tensors().size() == 2);
  CHECK(file.find("first").shape == std::vector<std::int64_t>{2, 3});
  CHECK(file.find("first").dtype == "F32");
  std::vector<float> first(6);
  std::vector<float> second(2);
  file.read("first", 0, first);
  file.read("second", 0, second);
  CHECK(std::memcmp(first.data(), kValues.data(), 24) == 0);
  CHECK(std::memcmp(second.data(), kValues.data() + 6, 8) == 0);
  std::vector<float> middle(2);
  file.read("first", 3, middle);
  CHECK(middle == std::vector<float>{-2.5F, 65504.0F});
}

TEST_CASE("16-bit tensors come back as the values rounded once") {
  const TemporaryFolder folder;
  const auto round_trip = [&](DType dtype) {
    SafetensorsWriter writer(folder.path() / "b.safetensors", {{"w", {8}}}, dtype);
    writer.append(kValues);
    writer.finish();
    std::vector<float> values(8);
    SafetensorsFile(folder.path() / "b.safetensors").read("w", 0, values);
    return values;
  };
  const std::vector<float> half = round_trip(DType::kF16);
  const std::vector<float> bfloat = round_trip(DType::kBF16);
  for (std::size_t i = 0; i < kValues.size(); ++i) {
    CHECK(half[i] == static_cast<float>(Half(kValues[i])));
    CHECK(bfloat[i] == static_cast<float>(BFloat16(kValues[i])));
  }
}

TEST_CASE("the file follows the published layout") {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder.path() / "c.safetensors", {{"w", {1, 2}}}, DType::kBF16);
  writer.append(std::vector<float>{1.0F, 2.0F});
  writer.finish();
  const MappedFile file(folder.path() / "c.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), 8);
  CHECK(length % 8 == 0);
  CHECK(file.size() == 8 + length + 4);
  std::string header(file.text().substr(8, length));
  header.erase(header.find_last_not_of(' ') + 1);
  CHECK(header == R"({"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}})");
}

TEST_CASE("a writer insists on exactly its elements") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "d.safetensors";
  {
    SafetensorsWriter writer(path, {{"w", {4}}}, DType::kF32);
    writer.append(std::span(kValues).first(3));
    CHECK_THROWS_WITH_AS(writer.finish(), doctest::Contains("3 of 4 elements"), Error);
  }
  {
    SafetensorsWriter writer(path, {{"w", {4}}}, DType::kF32);
    CHECK_THROWS_WITH_AS(writer.append(kValues), doctest::Contains("more than the 4 elements"), Error);
  }
  CHECK_FALSE(fs::exists(path));
  CHECK_THROWS_WITH_AS(SafetensorsWriter(path, {{"w", {4}}, {"w", {2}}}, DType::kF32), doctest::Contains("given twice"),
                       Error);
  CHECK_THROWS_AS(SafetensorsWriter(path, {{"w", {4}}}, DType::kF64), Error);
}

TEST_CASE("malformed files are refused, naming file and tensor") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "bad.safetensors";
  const auto refused = [&](const std::string& header, std::size_t data, const char* words) {
    write_raw(path, header.size(), header, data);
    INFO(header);
    CHECK_THROWS_WITH_AS(SafetensorsFile{path}, doctest::Contains(words), Error);
    CHECK_THROWS_WITH_AS(SafetensorsFile{path}, doctest::Contains("bad.safetensors"), Error);
  };
  const auto tensor = [](const std::string& fields) { return "{\"w\":{" + fields + "}}"; };

  write_raw(path, 1000, "{}", 4);
  CHECK_THROWS_WITH_AS(SafetensorsFile{path}, doctest::Contains("header of 1000 bytes does not fit"), Error);
  write_raw(path, std::numeric_limits<std::uint64_t>::max() - 3, "{}", 4);
  CHECK_THROWS_WITH_AS(SafetensorsFile{path}, doctest::Contains("does not fit"), Error);
  {
    AtomicFile file(path);
    file.write("abc");
    file.commit();
  }
  CHECK_THROWS_WITH_AS(SafetensorsFile{path}, doctest::Contains("3 bytes are too few"), Error);

  refused("{\"w\":", 0, "not a JSON object");
  refused("[1]", 0, "not a JSON object");
  refused("{\"w\":3}", 0, "tensor 'w' must be an object");
  refused(tensor(R"("shape":[1],"data_offsets":[0,4])"), 4, "tensor 'w' has no dtype");
  refused(tensor(R"("dtype":"Q3","shape":[1],"data_offsets":[0,4])"), 4, "tensor 'w' has unknown dtype 'Q3'");
  refused(tensor(R"("dtype":"F32","data_offsets":[0,4])"), 4, "tensor 'w' has no shape");
  refused(tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4, "no natural number");
  refused(tensor(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,4])"), 4, "no natural number");
  refused(tensor(R"("dtype":"F32","shape":[1])"), 4, "tensor 'w' has no data_offsets");
  refused(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4, "two data_offsets");
  refused(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4, "lies at bytes 4..0");
  refused(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 4, "truncated or damaged");
  refused(tensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,4])"), 4, "needs 12 bytes, its data_offsets hold 4");
  refused(tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4])"), 4, "impossible shape");
  refused(tensor(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4])"), 4, "impossible shape");
  refused(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8, "4 bytes before tensor 'w'");
  refused(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 8, "the last 4 bytes belong to no tensor");
  const std::string one = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  refused("{\"w\":" + one + ",\"w\":" + one + "}", 4, "tensor 'w' is there twice");
  refused("{\"a\":" + one + ",\"b\":" + one + "}", 4, "overlaps");
}

TEST_CASE("reading what is not there is refused by name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "e.safetensors";
  const std::string header = R"({"w":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})";
  write_raw(path, header.size(), header, 16);
  const SafetensorsFile file(path);
  std::vector<float> values(2);
  CHECK_THROWS_WITH_AS(file.read("v", 0, values), doctest::Contains("tensor 'v' is missing"), Error);
  CHECK_THROWS_WITH_AS(file.read("w", 0, values), doctest::Contains("tensor 'w' has dtype I64"), Error);
  CHECK_THROWS_WITH_AS(file.read("w", 1, values), doctest::Contains("elements [1, +2) of tensor 'w', which has 2"),
                       Error);
  CHECK_THROWS_AS(SafetensorsFile{folder.path() / "none.safetensors"}, Error);
}
