// Journal remembers the last calls, with what changed in the provider in between, and counts all calls.
//
// Called from any thread. Its memory is bounded: `max_calls` entries, with texts cut at `max_text`. The
// journal never holds a plaintext; apart from it, the last one that Encrypt was given and the last one that
// Decrypt gave are kept until the next or the end, and then wiped.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/secret_bytes.h"
#include "common/text/time.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

class Journal {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Method { status, encrypt, decrypt };

  static constexpr std::size_t max_calls = 1000;
  static constexpr std::size_t max_text = 128;
  static constexpr std::size_t max_event = 1024;
  static constexpr std::size_t max_plaintext = std::size_t{64} * 1024;  ///< a larger one is not kept
  static constexpr int hung = 17;  ///< a code of its own, beside gRPC's 0 to 16

  /// Upper bounds of the histograms' buckets, in seconds; one more bucket is above them all.
  static constexpr std::array<double, 16> latency_bounds{
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

  /// How long the calls of one method took that ended with one code.
  struct Latencies {
    std::string_view method;
    std::string code;
    std::array<std::uint64_t, latency_bounds.size() + 1> counts{};  ///< by bucket
    Duration sum{0};
  };

  /// A call at its end; the views need not outlive add().
  struct Call {
    Method method;
    int code;
    std::string_view uid;
    std::string_view key_id;
    std::size_t request_bytes;
    std::size_t response_bytes;
    Clock::time_point came;
    std::string_view fault;
    std::uint64_t connection = 0;
  };

  void add(const Call& call);

  /// Remembers what changed: a rotation, a fault, the configuration. Without secrets.
  void note(std::string_view event);

  /// Keeps the plaintext in place of the last one of `method`.
  void remember(Method method, std::string_view uid, Bytes plaintext);

  /// The entries with a higher number than `after`, oldest first; waits for one for `wait` at most.
  void read(std::uint64_t after, Duration wait, mock_kms::v1::JournalPage& page);

  /// From now on no reader waits.
  void end_waits();

  void count_all(mock_kms::v1::CallCounts& counts) const;

  /// Of the calls that came at `since` or later, as far as the journal reaches back.
  void count_since(Clock::time_point since, mock_kms::v1::CallCounts& counts) const;

  /// From now on latencies() counts; without it no call pays for that.
  void measure_latencies();

  /// Those of methods and codes that had a call. Calls that hang are not among them: they have no end.
  [[nodiscard]] std::vector<Latencies> latencies() const;

  /// Size, digest, and where it is asked for the plaintext itself. Throws Error.
  void last_plaintexts(bool reveal, mock_kms::v1::LastPlaintextsReply& reply) const;

 private:
  struct Entry {
    Method method = Method::status;
    int code = 0;
    std::string uid, key_id, fault, event;  ///< an event has nothing else but its time
    std::size_t request_bytes = 0, response_bytes = 0;
    std::uint64_t connection = 0;
    Clock::time_point came;
    Duration latency{0};
  };
  struct Count {
    std::uint64_t calls = 0, faulted = 0;
  };
  struct Remembered {
    std::string uid;
    std::size_t size = 0;
    SecretBytes plaintext;
    bool is_there = false;
  };
  using Counts = std::array<std::array<Count, hung + 1>, 3>;

  [[nodiscard]] static std::size_t index_of(Method method, int code) {
    return static_cast<std::size_t>(method) * (hung + 1) + static_cast<std::size_t>(code);
  }
  [[nodiscard]] Entry& next_entry();
  void measure(const Entry& entry);
  static void write(const Counts& from, mock_kms::v1::CallCounts& to);
  static void write(const Entry& from, mock_kms::v1::CallRecord& to);
  [[nodiscard]] std::uint64_t oldest() const { return total_ > max_calls ? total_ - max_calls + 1 : 1; }
  [[nodiscard]] const Entry& entry(std::uint64_t number) const { return ring_[(number - 1) % max_calls]; }

  mutable std::mutex mutex_;  ///< guards all below
  std::condition_variable added_;
  std::vector<Entry> ring_ = std::vector<Entry>(max_calls);
  std::uint64_t total_ = 0;  ///< entries so far; the last one's number
  bool waits_are_over_ = false;
  Clock::time_point latest_forgotten_;  ///< when the latest came of the calls that the ring holds no more
  Counts counts_{};
  std::vector<Latencies> latencies_;      ///< by method and code; empty where they are not measured
  std::array<Remembered, 3> remembered_;  ///< by method
};

}  // namespace kms::provider
