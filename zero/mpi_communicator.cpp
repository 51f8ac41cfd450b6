#include "zero/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <vector>

#include "zero/mpi_transfers.h"

namespace llama_zero {
namespace {

constexpr int kCollectiveTag = 1;
constexpr int kPointToPointTag = 2;

class MpiCommunicator final : public Communicator {
 public:
  /// Owns `comm`.
  MpiCommunicator(MPI_Comm comm, double timeout_seconds, std::unique_ptr<HostStaging> staging)
      : comm_(comm), timeout_(timeout_seconds), staging_(std::move(staging)) {
    if (!staging_) staging_ = std::make_unique<HostStaging>();
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI error handler");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI rank");
    check_mpi(MPI_Comm_size(comm_, &size_), "MPI size");
  }
  ~MpiCommunicator() override { MPI_Comm_free(&comm_); }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string description() const override {
    return fmt::format("MPI ({} rank{}, host-staged)", size_, size_ == 1 ? "" : "s");
  }

 protected:
  void do_all_gather(ConstView send, View recv, Stream& stream) override {
    const auto piece = [&](int r) { return recv.slice(r * send.numel(), send.numel()); };
    staging_->copy_own(send, piece(rank_), stream);
    in_chunks(
        send.numel(), size_of(send.dtype()) * others(), stream,
        [&](const Chunk& chunk, Parts& out) {
          out.push_back(staging_->fetch(send.slice(chunk.begin, chunk.count), chunk.slot, stream));
        },
        [&](const Chunk& chunk, const Parts& out) {
          exchange("all_gather", chunk, stream, [&](MpiTransfers& transfers, Incoming& incoming, int peer) {
            incoming.recv(transfers, piece(peer).slice(chunk.begin, chunk.count), peer);
            transfers.send(out.front(), peer, kCollectiveTag);
          });
        });
  }

  void do_all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) override {
    const auto outgoing = [&](int r) { return send.slice(r * range.stride + range.offset, range.count); };
    const auto incoming_of = [&](int r) { return recv.slice(r * range.count, range.count); };
    staging_->copy_own(outgoing(rank_), incoming_of(rank_), stream);
    in_chunks(
        range.count, size_of(send.dtype()) * others(), stream,
        [&](const Chunk& chunk, Parts& out) {
          for (int distance = 1; distance < size_; ++distance) {
            const ConstView part = outgoing(peer_at(distance)).slice(chunk.begin, chunk.count);
            out.push_back(staging_->fetch(part, chunk.slot, stream));
          }
        },
        [&](const Chunk& chunk, const Parts& out) {
          std::size_t next = 0;
          exchange("all_to_all", chunk, stream, [&](MpiTransfers& transfers, Incoming& incoming, int peer) {
            incoming.recv(transfers, incoming_of(peer).slice(chunk.begin, chunk.count), peer);
            transfers.send(out[next++], peer, kCollectiveTag);
          });
        });
  }

  void do_broadcast(View buffer, int root, Stream& stream) override {
    const bool sends = rank_ == root;
    in_chunks(
        buffer.numel(), size_of(buffer.dtype()), stream,
        [&](const Chunk& chunk, Parts& out) {
          if (sends) out.push_back(staging_->fetch(buffer.slice(chunk.begin, chunk.count), chunk.slot, stream));
        },
        [&](const Chunk& chunk, const Parts& out) {
          exchange("broadcast", chunk, stream, [&](MpiTransfers& transfers, Incoming& incoming, int peer) {
            if (sends) transfers.send(out.front(), peer, kCollectiveTag);
            if (peer == root) incoming.recv(transfers, buffer.slice(chunk.begin, chunk.count), peer);
          });
        });
  }

  void do_send(ConstView buffer, int destination, Stream& stream) override {
    in_chunks(
        buffer.numel(), size_of(buffer.dtype()), stream,
        [&](const Chunk& chunk, Parts& out) {
          out.push_back(staging_->fetch(buffer.slice(chunk.begin, chunk.count), chunk.slot, stream));
        },
        [&](const Chunk&, const Parts& out) {
          MpiTransfers transfers(comm_, where("send"), timeout_);
          transfers.send(out.front(), destination, kPointToPointTag);
          transfers.finish();
        });
  }

  void do_recv(View buffer, int source, Stream& stream) override {
    in_chunks(
        buffer.numel(), size_of(buffer.dtype()), stream, [](const Chunk&, Parts&) {},
        [&](const Chunk& chunk, const Parts&) {
          MpiTransfers transfers(comm_, where("recv"), timeout_);
          Incoming incoming(*staging_, chunk.slot, kPointToPointTag, stream);
          incoming.recv(transfers, buffer.slice(chunk.begin, chunk.count), source);
          transfers.finish();
          incoming.close();
        });
  }

  // A byte from each to each: unlike MPI's barrier it tells who is late.
  void do_barrier() override {
    std::vector<std::uint8_t> arrivals(static_cast<std::size_t>(size_));
    const View all = View::of<std::uint8_t>(arrivals);
    const std::uint8_t here = 1;
    MpiTransfers transfers(comm_, where("barrier"), timeout_);
    for (int distance = 1; distance < size_; ++distance) {
      transfers.recv(all.slice(peer_at(distance), 1), peer_at(distance), kCollectiveTag);
      transfers.send(ConstView::of<std::uint8_t>({&here, 1}), peer_at(distance), kCollectiveTag);
    }
    transfers.finish();
  }

 private:
  using Parts = std::vector<ConstView>;

  /// Elements [begin, begin + count) of every part of a collective.
  struct Chunk {
    std::int64_t begin = 0, count = 0;
    int slot = 0;
  };

  /// The receives of one chunk.
  class Incoming {
   public:
    Incoming(HostStaging& staging, int slot, int tag, Stream& stream)
        : staging_(staging), slot_(slot), tag_(tag), stream_(stream) {
      staging_.begin_incoming(slot);
    }
    void recv(MpiTransfers& transfers, View destination, int peer) {
      const View host = staging_.open(destination, slot_, stream_);
      transfers.recv(host, peer, tag_);
      parts_.emplace_back(host, destination);
    }
    void close() {
      for (const auto& [host, destination] : parts_) staging_.close(host, destination, slot_, stream_);
    }

   private:
    HostStaging& staging_;
    int slot_, tag_;
    Stream& stream_;
    std::vector<std::pair<View, View>> parts_;
  };

  std::size_t others() const { return static_cast<std::size_t>(std::max(1, size_ - 1)); }
  /// Nearest first, so that not all begin with rank 0.
  int peer_at(int distance) const { return (rank_ + distance) % size_; }

  /// fetch(chunk, parts) for the chunk after the one that move(chunk, parts) is given. All ranks cut alike.
  template <typename Fetch, typename Move>
  void in_chunks(std::int64_t count, std::size_t bytes_of_element, Stream& stream, Fetch fetch, Move move) {
    const std::size_t fit = std::max<std::size_t>(1, staging_->chunk_bytes() / bytes_of_element);
    const auto most = static_cast<std::int64_t>(std::min<std::size_t>(fit, static_cast<std::size_t>(count)));
    Parts parts[HostStaging::kSlots];
    const auto chunk_at = [&](std::int64_t begin) {
      return Chunk{begin, std::min(most, count - begin), static_cast<int>(begin / most % HostStaging::kSlots)};
    };
    const auto start = [&](const Chunk& chunk) {
      parts[chunk.slot].clear();
      staging_->begin_outgoing(chunk.slot);
      fetch(chunk, parts[chunk.slot]);
    };
    if (count > 0) start(chunk_at(0));
    for (std::int64_t begin = 0; begin < count; begin += most) {
      const Chunk chunk = chunk_at(begin);
      staging_->wait_outgoing(chunk.slot, stream);
      if (begin + most < count) start(chunk_at(begin + most));
      move(chunk, parts[chunk.slot]);
    }
  }

  /// issue(transfers, incoming, peer) for every other rank.
  template <typename Issue>
  void exchange(std::string_view operation, const Chunk& chunk, Stream& stream, Issue issue) {
    MpiTransfers transfers(comm_, where(operation), timeout_);
    Incoming incoming(*staging_, chunk.slot, kCollectiveTag, stream);
    for (int distance = 1; distance < size_; ++distance) issue(transfers, incoming, peer_at(distance));
    transfers.finish();
    incoming.close();
  }

  MPI_Comm comm_;
  double timeout_;
  std::unique_ptr<HostStaging> staging_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

MpiWorld::MpiWorld(int* argc, char*** argv) {
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  require(provided >= MPI_THREAD_FUNNELED, "MPI offers no thread support (level {})", provided);
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI error handler");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI size");
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host), "MPI host group");
  check_mpi(MPI_Comm_rank(host, &local_rank_), "MPI local rank");
  check_mpi(MPI_Comm_size(host, &local_size_), "MPI local size");
  MPI_Comm_free(&host);
}

MpiWorld::~MpiWorld() {
  if (std::uncaught_exceptions() > 0) MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  MPI_Finalize();
}

std::string MpiWorld::version() const {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  check_mpi(MPI_Get_library_version(text, &length), "MPI version");
  const std::string version(text, static_cast<std::size_t>(length));
  return version.substr(0, version.find(','));
}

// A stall shows on every rank that waits, at nearly the same time. The lowest of them speaks; the signal by which its
// MPI_Abort ends the others cuts their sleep short, and they have nothing to add.
void MpiWorld::abort(const std::string& message) noexcept {
  const long quarters = 4 + std::min(rank_, 8);  // of a second
  const timespec turn{quarters / 4, quarters % 4 * 250'000'000};
  const bool is_told_to_end = rank_ > 0 && ::nanosleep(&turn, nullptr) != 0;
  if (!message.empty() && !is_told_to_end) std::fprintf(stderr, "%s\n", message.c_str());
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  std::_Exit(EXIT_FAILURE);
}

std::unique_ptr<Communicator> make_mpi_communicator(MpiWorld& world, double timeout_seconds,
                                                    std::unique_ptr<HostStaging> staging) {
  const Mesh mesh = Mesh::data_parallel(world.rank(), world.size());
  return make_mpi_communicator(world, mesh, MeshAxis::kData, timeout_seconds, std::move(staging));
}

std::unique_ptr<Communicator> make_mpi_communicator(MpiWorld& world, const Mesh& mesh, MeshAxis axis,
                                                    double timeout_seconds, std::unique_ptr<HostStaging> staging) {
  require(mesh.world_rank() == world.rank() && mesh.world_size() == world.size(),
          "mesh of rank {} of {} on rank {} of {}", mesh.world_rank(), mesh.world_size(), world.rank(), world.size());
  MPI_Comm group = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(MPI_COMM_WORLD, mesh.group(axis), mesh.coordinate(axis), &group), "MPI_Comm_split");
  return std::make_unique<MpiCommunicator>(group, timeout_seconds, std::move(staging));
}

}  // namespace llama_zero
