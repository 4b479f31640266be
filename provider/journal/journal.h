// Journal remembers the last calls and the changes of the provider between them, and counts all calls.
//
// Called from any thread. Memory is bounded: `max_calls` good calls of Status and `max_calls` other entries,
// with texts cut at `max_text`. So the probes of a supervisor do not push other calls out. Entries never hold
// a plaintext. Beside them it keeps the last plaintext of Encrypt and of Decrypt until the next one, and then
// wipes it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/secret_bytes.h"
#include "common/metrics/metrics.h"
#include "common/text/time.h"
#include "proto/provider_control.pb.h"

namespace kms::provider {

class Journal {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Method { status, encrypt, decrypt, v1_version, v1_encrypt, v1_decrypt, other };
  static constexpr std::size_t methods = 7;

  static constexpr std::size_t max_calls = 1000;
  static constexpr std::size_t max_text = 128;
  static constexpr std::size_t max_event = 1024;
  static constexpr std::size_t max_plaintext = std::size_t{64} * 1024;  ///< a larger one is not kept
  static constexpr int hung = 17;  ///< a code of its own, beside gRPC's 0 to 16

  /// Latencies of the calls of one method that ended with one code.
  struct Latencies {
    std::string_view method;
    std::string code;
    LatencyHistogram histogram;
  };

  /// A finished call. The views need not outlive add().
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
    std::string_view path = {};  ///< of Method::other, as the client called it
  };

  void add(const Call& call);

  /// Records a change: a rotation, a fault, the configuration. Without secrets.
  void note(std::string_view event, Clock::time_point at = Clock::now());

  /// Keeps the plaintext; it replaces the last one of `method`.
  void remember(Method method, std::string_view uid, Bytes plaintext);

  /// Adds the entries with a number above `after`, oldest first.
  void read(std::uint64_t after, mock_kms::v1::JournalPage& page) const;

  /// With `zeros` also the methods and codes of KMS v2 that had no call, as metrics list them.
  void count_all(mock_kms::v1::CallCounts& counts, bool zeros = false) const;

  /// Counts the calls that came at `since` or later, as far as the journal reaches back.
  void count_since(Clock::time_point since, mock_kms::v1::CallCounts& counts) const;

  /// Measures latencies from now on. Without it calls save the time for that.
  void measure_latencies();

  /// Latencies of each method and code that had a call. Calls that hang have none.
  [[nodiscard]] std::vector<Latencies> latencies() const;

  /// Size and digest, and with `reveal` the plaintext itself. Throws Error.
  void last_plaintexts(bool reveal, mock_kms::v1::LastPlaintextsReply& reply) const;

 private:
  struct Entry {
    Method method = Method::status;
    int code = 0;
    std::string uid, key_id, fault, path, event;  ///< an event has only its time beside it
    std::size_t request_bytes = 0, response_bytes = 0;
    std::uint64_t number = 0;  ///< from 1, counted over both rings; 0: not used yet
    std::uint64_t connection = 0;
    Clock::time_point came;
    Duration latency{0};
  };
  /// Keeps the last `max_calls` entries.
  struct Ring {
    std::vector<Entry> entries = std::vector<Entry>(max_calls);
    std::uint64_t total = 0;
    Clock::time_point latest_forgotten;  ///< the latest arrival of a call that left the ring

    [[nodiscard]] Entry& next();
    [[nodiscard]] bool has_forgotten(Clock::time_point since) const {
      return total > max_calls && latest_forgotten >= since;
    }
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
  using Counts = std::array<std::array<Count, hung + 1>, methods>;

  [[nodiscard]] static std::size_t index_of(Method method, int code) {
    return static_cast<std::size_t>(method) * (hung + 1) + static_cast<std::size_t>(code);
  }
  [[nodiscard]] Entry& next_entry(Ring& ring);
  /// The entries of both rings with a number above `after`, oldest first.
  [[nodiscard]] std::vector<const Entry*> entries_after(std::uint64_t after) const;
  static void write(const Counts& from, mock_kms::v1::CallCounts& to, bool zeros = false);
  static void write(const Entry& from, mock_kms::v1::CallRecord& to);

  mutable std::mutex mutex_;  ///< guards all below
  Ring good_statuses_;
  Ring others_;
  std::uint64_t last_number_ = 0;
  Counts counts_{};
  std::vector<LatencyHistogram> latencies_;  ///< by method and code; empty if not measured
  std::array<Remembered, 3> remembered_;     ///< by method
};

}  // namespace kms::provider
