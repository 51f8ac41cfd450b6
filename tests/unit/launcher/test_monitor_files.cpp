// Event files and CSV files of the monitors, read back.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "launcher/monitor/append_file.h"
#include "launcher/monitor/crc32c.h"
#include "launcher/monitor/event_record.h"
#include "launcher/monitor/scalar_writer.h"
#include "tests/support/temporary_folder.h"

namespace llama_zero::test {
namespace {

template <typename T>
T read_number(std::string_view bytes, std::size_t at) {
  REQUIRE(at + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

/// The payloads of a TFRecord file; both sums of each record are checked.
std::vector<std::string> read_records(std::string_view file) {
  std::vector<std::string> records;
  std::size_t at = 0;
  while (at < file.size()) {
    const auto length = read_number<std::uint64_t>(file, at);
    CHECK(read_number<std::uint32_t>(file, at + 8) == masked_crc32c(file.substr(at, 8)));
    REQUIRE(at + 16 + length <= file.size());
    const std::string_view payload = file.substr(at + 12, length);
    CHECK(read_number<std::uint32_t>(file, at + 12 + length) == masked_crc32c(payload));
    records.emplace_back(payload);
    at += 16 + length;
  }
  return records;
}

/// A field of a protocol buffer message: numbers as bits, the rest as bytes.
struct Field {
  unsigned number = 0;
  std::uint64_t bits = 0;
  std::string bytes;
};

std::uint64_t read_varint(std::string_view bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    REQUIRE(at < bytes.size());
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    if ((byte & 0x80U) == 0) return value;
  }
}

std::vector<Field> read_message(std::string_view bytes) {
  std::vector<Field> fields;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::uint64_t key = read_varint(bytes, at);
    Field field;
    field.number = static_cast<unsigned>(key >> 3U);
    switch (key & 7U) {
      case 0:
        field.bits = read_varint(bytes, at);
        break;
      case 1:
        field.bits = read_number<std::uint64_t>(bytes, at);
        at += 8;
        break;
      case 5:
        field.bits = read_number<std::uint32_t>(bytes, at);
        at += 4;
        break;
      default: {
        const std::uint64_t size = read_varint(bytes, at);
        field.bytes = std::string(bytes.substr(at, size));
        at += size;
      }
    }
    fields.push_back(field);
  }
  return fields;
}

Scalar scalar_of(std::string_view event) {
  Scalar scalar;
  for (const Field& field : read_message(event)) {
    if (field.number == 2) scalar.samples = static_cast<std::int64_t>(field.bits);
    if (field.number != 5) continue;
    const std::vector<Field> values = read_message(field.bytes);
    REQUIRE(values.size() == 1);
    for (const Field& part : read_message(values[0].bytes)) {
      if (part.number == 1) scalar.tag = part.bytes;
      if (part.number == 2) scalar.value = std::bit_cast<float>(static_cast<std::uint32_t>(part.bits));
    }
  }
  return scalar;
}

std::string only_file(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  REQUIRE(files.size() == 1);
  return files[0].string();
}

class FailingWriter final : public ScalarWriter {
 public:
  explicit FailingWriter(int& calls) : calls_(calls) {}
  std::string_view name() const override { return "tensorboard"; }
  void write(std::span<const Scalar>) override {
    calls_ += 1;
    fail("cannot write events: No space left on device");
  }

 private:
  int& calls_;
};

}  // namespace

TEST_CASE("CRC-32C gives the sums of RFC 3720") {
  CHECK(crc32c("") == 0U);
  CHECK(crc32c("123456789") == 0xe3069283U);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aaU);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43U);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  CHECK(crc32c(ascending) == 0x46dd794eU);
  // Rotated right by 15 bits, plus 0xa282ead8: 0xe3069283 -> 0x2507c60d -> 0xc78ab0e5.
  CHECK(masked_crc32c("123456789") == 0xc78ab0e5U);
}

TEST_CASE("an event file begins with its version and holds each scalar at its samples") {
  const TemporaryFolder folder;
  const std::vector<Scalar> scalars = {{"Train/Samples/lr", 0.25, 16},
                                       {"Train/Samples/train_loss", 3.5, 16},
                                       {"Train/Samples/lr", 0.125, std::int64_t{1} << 40}};
  make_tensorboard_writer(folder.path() / "out" / "job")->write(scalars);

  const std::string name = only_file(folder.path() / "out" / "job");
  CHECK(name.find("/events.out.tfevents.") != std::string::npos);
  const MappedFile file{fs::path(name)};
  const std::vector<std::string> records = read_records(file.text());
  REQUIRE(records.size() == 1 + scalars.size());
  const std::vector<Field> version = read_message(records[0]);
  REQUIRE(version.size() == 2);
  CHECK(version[1].number == 3);
  CHECK(version[1].bytes == "brain.Event:2");
  for (std::size_t i = 0; i < scalars.size(); ++i) {
    const Scalar read = scalar_of(records[1 + i]);
    CHECK(read.tag == scalars[i].tag);
    CHECK(read.value == scalars[i].value);
    CHECK(read.samples == scalars[i].samples);
  }
}

TEST_CASE("a flipped bit of an event file is seen by its checksum") {
  std::string file = frame_record(encode_scalar(1.0, 2, "a", 3.0));
  const std::uint32_t sum = masked_crc32c(std::string_view(file).substr(12, file.size() - 16));
  file[14] = static_cast<char>(file[14] ^ 1);
  CHECK(masked_crc32c(std::string_view(file).substr(12, file.size() - 16)) != sum);
}

TEST_CASE("a scalar that is not finite stays so in an event file") {
  CHECK(std::isnan(scalar_of(encode_scalar(1.0, 2, "a", std::nan(""))).value));
}

TEST_CASE("csv_monitor writes a file a scalar with DeepSpeed's name and header") {
  const TemporaryFolder folder;
  const auto writer = make_csv_writer(folder / "csv");
  writer->write(std::vector<Scalar>{{"Train/Samples/lr", 0.1, 8}, {"Train/Samples/loss_scale", 65536.0, 8}});
  writer->write(std::vector<Scalar>{{"Train/Samples/lr", 1e-300, 16}});
  CHECK(MappedFile(folder.path() / "csv" / "Train_Samples_lr.csv").text() == "step,lr\n8,0.1\n16,1e-300\n");
  CHECK(MappedFile(folder.path() / "csv" / "Train_Samples_loss_scale.csv").text() == "step,loss_scale\n8,65536\n");
}

TEST_CASE("csv_monitor of a resumed run cuts what lies beyond the checkpoint and writes no second header") {
  const TemporaryFolder folder;
  const fs::path csv = folder / "csv";
  const auto text_of = [&](const char* name) { return std::string(MappedFile(csv / name).text()); };
  {
    const auto writer = make_csv_writer(csv);
    for (const std::int64_t samples : {8, 16, 24}) {
      writer->write(
          std::vector<Scalar>{{"Train/Samples/lr", 0.5, samples}, {"Train/Samples/loss_scale", 2.0, samples}});
    }
  }
  // A crash may leave half a line; another program's file is none of ours.
  AppendFile(csv / "Train_Samples_lr.csv").write("32,0.");
  AppendFile(csv / "notes.csv").write("step,x\n99,1\n");

  const auto resumed = make_csv_writer(csv, 16);
  // A curve that the resumed run does not go on with is cut too.
  CHECK(text_of("Train_Samples_loss_scale.csv") == "step,loss_scale\n8,2\n16,2\n");
  CHECK(text_of("notes.csv") == "step,x\n99,1\n");
  resumed->write(std::vector<Scalar>{{"Train/Samples/lr", 0.25, 24}, {"Train/Samples/grad_norm", 1.0, 24}});
  CHECK(text_of("Train_Samples_lr.csv") == "step,lr\n8,0.5\n16,0.5\n24,0.25\n");
  CHECK(text_of("Train_Samples_grad_norm.csv") == "step,grad_norm\n24,1\n");
}

TEST_CASE("csv_monitor of a new run goes on below what is there under a second header, as DeepSpeed does") {
  const TemporaryFolder folder;
  for (int run = 0; run < 2; ++run) make_csv_writer(folder / "csv")->write(std::vector<Scalar>{{"a", 1.0, 8}});
  CHECK(MappedFile(folder.path() / "csv" / "a.csv").text() == "step,a\n8,1\nstep,a\n8,1\n");
}

TEST_CASE("an event file of a resumed run is read last and makes TensorBoard forget the steps beyond the checkpoint") {
  const TemporaryFolder folder;
  const fs::path earlier = folder.path() / "events.out.tfevents.4000000000.host.1.0";  // by a clock that is ahead
  fs::copy_file("/proc/self/comm", earlier);
  make_tensorboard_writer(folder.path(), 16)->write(std::vector<Scalar>{{"a", 1.0, 24}});
  fs::path later;
  for (const auto& entry : fs::directory_iterator(folder.path())) later = std::max(later, entry.path());
  REQUIRE(later > earlier);
  const MappedFile file(later);
  const std::vector<std::string> records = read_records(file.text());
  REQUIRE(records.size() == 3);
  const std::vector<Field> start = read_message(records[1]);
  REQUIRE(start.size() == 3);
  CHECK(start[1].number == 2);
  CHECK(start[1].bits == 17);  // the first that is to be forgotten
  CHECK(start[2].number == 7);
  CHECK(start[2].bytes == std::string("\x08\x01"));  // status = START
  CHECK(scalar_of(records[2]).samples == 24);
}

TEST_CASE("a monitor whose folder cannot be made fails at once and names it") {
  const TemporaryFolder folder;
  const fs::path blocked = folder.path() / "file";
  fs::copy_file("/proc/self/comm", blocked);
  for (const auto make : {make_csv_writer, make_tensorboard_writer}) {
    try {
      make(blocked / "job", std::nullopt);
      FAIL("a file was taken for a folder");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(blocked.string()) != std::string::npos);
    }
  }
}

TEST_CASE("a monitor that cannot write any more is dropped, the others go on") {
  const TemporaryFolder folder;
  int calls = 0;
  ScalarWriters writers;
  writers.add(std::make_unique<FailingWriter>(calls));
  writers.add(make_csv_writer(folder / "csv"));
  for (std::int64_t samples = 1; samples <= 2; ++samples) writers.write(std::vector<Scalar>{{"x", 0.5, samples}});
  CHECK(calls == 1);
  CHECK(MappedFile(folder.path() / "csv" / "x.csv").text() == "step,x\n1,0.5\n2,0.5\n");
}

}  // namespace llama_zero::test
