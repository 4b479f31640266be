// Progress shows how far a long phase is: a bar on a terminal, now and then a log line elsewhere.
//
// Used on one thread. It draws on stderr and clears its bar before anybody logs (clear()). It never decides
// anything.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace kms::builder {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  /// `terminal`: draw a bar; `columns` is the terminal's width.
  Progress(bool terminal, unsigned columns) : terminal_(terminal), columns_(columns) {}

  /// For what stderr is.
  [[nodiscard]] static Progress for_stderr();

  /// `what` such as "compile"; `detail` such as "1.2 MB". A total of 0 is not known yet.
  void update(const std::string& what, std::uint64_t done, std::uint64_t total, const std::string& detail,
              Clock::time_point now = Clock::now());

  void clear();

 private:
  bool terminal_;
  unsigned columns_;
  bool drawn_ = false;
  std::string logged_what_;
  Clock::time_point logged_at_{};
};

/// "compile [=====>    ] 5/10  detail", at most `columns` wide. Pure.
[[nodiscard]] std::string bar(const std::string& what, std::uint64_t done, std::uint64_t total,
                              const std::string& detail, unsigned columns);

/// "512 B", "47.6 kB", "44.0 MB". Pure.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

}  // namespace kms::builder
