#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/device.h"
#include "zero/communicator.h"

using namespace llama_zero;

namespace {

// doctest's assertions are not thread-safe: rank-threads throw, the test thread checks.
void expect(bool condition, const std::string& what) { require(condition, "{}", what); }

float number(int rank, std::int64_t i) { return static_cast<float>(1000 * rank + i); }

std::vector<float> numbered(int rank, std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(number(rank, i));
  return values;
}

ConstView view_of(const std::vector<float>& values) { return ConstView::of<float>(values); }
View view_of(std::vector<float>& values) { return View::of<float>(values); }

/// Every collective once, on any communicator, with pieces of `count` elements.
void exercise(Communicator& communicator, std::int64_t count) {
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("test");
  const int ranks = communicator.size();
  const int rank = communicator.rank();
  const auto at = [](const std::vector<float>& values, std::int64_t i) { return values[static_cast<std::size_t>(i)]; };

  const std::vector<float> own = numbered(rank, count);
  std::vector<float> all(static_cast<std::size_t>(count * ranks), -1.0F);
  communicator.all_gather(view_of(own), view_of(all), *stream);
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t i = 0; i < count; ++i) {
      expect(at(all, r * count + i) == number(r, i), "all_gather brings every rank's elements in rank order");
    }
  }

  std::vector<float> in_place(all.size(), -1.0F);
  std::copy(own.begin(), own.end(), in_place.begin() + rank * count);
  const View whole = view_of(in_place);
  communicator.all_gather(whole.slice(rank * count, count), whole, *stream);
  expect(in_place == all, "all_gather works in place");

  const std::vector<float> outgoing = numbered(rank, count * ranks);
  std::vector<float> incoming(outgoing.size(), -1.0F);
  communicator.all_to_all(view_of(outgoing), view_of(incoming), *stream);
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t i = 0; i < count; ++i) {
      expect(at(incoming, r * count + i) == number(r, rank * count + i), "all_to_all swaps pieces");
    }
  }

  const std::int64_t part = count - count / 2;
  std::vector<float> parts(static_cast<std::size_t>(part * ranks), -1.0F);
  communicator.all_to_all(view_of(outgoing), PieceRange{count, count / 2, part}, view_of(parts), *stream);
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t i = 0; i < part; ++i) {
      expect(at(parts, r * part + i) == at(incoming, r * count + count / 2 + i),
             "all_to_all moves a part of the pieces");
    }
  }

  for (int root = 0; root < ranks; ++root) {
    std::vector<float> buffer = numbered(rank, count);
    communicator.broadcast(view_of(buffer), root, *stream);
    expect(buffer == numbered(root, count), "broadcast brings the root's elements");
  }

  if (ranks > 1) {
    std::vector<float> received(static_cast<std::size_t>(count), -1.0F);
    const int next = (rank + 1) % ranks;
    const int previous = (rank + ranks - 1) % ranks;
    if (rank == 0) {
      communicator.send(view_of(own), next, *stream);
      communicator.recv(view_of(received), previous, *stream);
    } else {
      communicator.recv(view_of(received), previous, *stream);
      communicator.send(view_of(own), next, *stream);
    }
    expect(received == numbered(previous, count), "send and recv move a buffer round the ring");
  }
  communicator.barrier();
}

}  // namespace

TEST_CASE("every collective of rank-threads moves the right elements") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (const std::int64_t count : {1, 63, 1000}) {
      CHECK_NOTHROW(run_rank_threads(ranks, [count](Communicator& communicator) { exercise(communicator, count); }));
    }
  }
}

TEST_CASE("the local communicator copies") {
  const auto device = make_cpu_device();
  const auto communicator = make_local_communicator(*device);
  CHECK(communicator->size() == 1);
  CHECK_NOTHROW(exercise(*communicator, 17));
}

TEST_CASE("the planner's communicator checks sizes and touches nothing") {
  const auto device = make_null_device();
  const auto stream = device->create_stream("plan");
  const auto communicator = make_null_communicator(2, 4);
  const View unreadable(device->allocate(4096), 256, DType::kF32);
  CHECK_NOTHROW(communicator->all_gather(unreadable.slice(0, 64), unreadable, *stream));
  CHECK_THROWS_AS(communicator->all_gather(unreadable.slice(0, 63), unreadable, *stream), Error);
  CHECK_THROWS_AS(make_null_communicator(4, 4), Error);
}

TEST_CASE("wrong counts and peers are refused before anything moves") {
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("test");
  const auto communicator = make_thread_communicator(make_thread_world(3), 1);
  std::vector<float> four(4), twelve(12);
  CHECK_THROWS_WITH_AS(communicator->all_gather(view_of(four), view_of(four), *stream),
                       "rank 1: all_gather of step 0: 4 elements of fp32 from each of 3 ranks do not fill 4 of fp32",
                       Error);
  CHECK_THROWS_AS(communicator->all_to_all(view_of(four), view_of(four), *stream), Error);
  CHECK_THROWS_AS(communicator->all_to_all(view_of(twelve), PieceRange{4, 2, 3}, view_of(twelve), *stream), Error);
  CHECK_THROWS_AS(communicator->broadcast(view_of(four), 3, *stream), Error);
  CHECK_THROWS_AS(communicator->send(view_of(four), 1, *stream), Error);
}

TEST_CASE("ranks that call different collectives all get an error naming both") {
  std::atomic<int> failures{0};
  const auto body = [&](Communicator& communicator) {
    const auto device = make_cpu_device();
    const auto stream = device->create_stream("test");
    std::vector<float> own(4), all(12);
    try {
      if (communicator.rank() == 2) {
        communicator.broadcast(view_of(own), 0, *stream);
      } else {
        communicator.all_gather(view_of(own), view_of(all), *stream);
      }
    } catch (const Error&) {
      failures += 1;
      throw;
    }
  };
  CHECK_THROWS_WITH_AS(
      run_rank_threads(3, body),
      "ranks disagree: rank 0 calls all_gather of 4 elements of fp32, rank 2 calls broadcast of 4 elements of fp32",
      Error);
  CHECK(failures == 3);
}

TEST_CASE("a rank that fails ends all ranks with its message") {
  std::atomic<int> ended{0};
  const auto body = [&](Communicator& communicator) {
    struct Count {
      std::atomic<int>& counter;
      ~Count() { counter += 1; }
    } count{ended};
    communicator.barrier();
    if (communicator.rank() == 1) fail("rank 1: disk full");
    for (;;) communicator.barrier();
  };
  CHECK_THROWS_WITH_AS(run_rank_threads(4, body), "rank 1: disk full", Error);
  CHECK(ended == 4);
}

TEST_CASE("a stalled collective names rank, step, collective and who is missing") {
  const auto world = make_thread_world(3, 0.05);
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("test");
  const auto communicator = make_thread_communicator(world, 1);
  communicator->set_step(17);
  std::vector<float> own(4), all(12);
  CHECK_THROWS_WITH_AS(
      communicator->all_gather(view_of(own), view_of(all), *stream),
      "rank 1: all_gather of step 17 did not finish in 0.05 s; ranks 0, 2 have not answered (a rank may "
      "have died or stalled)",
      Error);
  CHECK_THROWS_AS(make_thread_communicator(world, 0)->barrier(), Error);
}

TEST_CASE("send and recv without a partner time out") {
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("test");
  std::vector<float> buffer(4);
  const auto sender = make_thread_communicator(make_thread_world(2, 0.02), 0);
  CHECK_THROWS_WITH_AS(
      sender->send(view_of(buffer), 1, *stream),
      "rank 0: send of step 0 did not finish in 0.02 s; rank 1 has not answered (a rank may have died or "
      "stalled)",
      Error);
  const auto receiver = make_thread_communicator(make_thread_world(2, 0.02), 0);
  CHECK_THROWS_AS(receiver->recv(view_of(buffer), 1, *stream), Error);
}

TEST_CASE("an aborted world wakes waiting ranks and stays aborted") {
  const auto world = make_thread_world(2);
  std::string message;
  std::thread waiting([&] {
    try {
      make_thread_communicator(world, 0)->barrier();
    } catch (const Error& error) {
      message = error.what();
    }
  });
  abort_thread_world(*world, "rank 1: out of memory");
  waiting.join();
  CHECK(message == "rank 1: out of memory");
  CHECK_THROWS_WITH_AS(make_thread_communicator(world, 1)->barrier(), "rank 1: out of memory", Error);
}
