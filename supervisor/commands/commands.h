// What the control service asks of the loop: the seam between control_server.h and supervisor.h.
//
// All of it is called on the loop's thread. An `instance` is a number from 1 that there is, or 0 for all of
// them.
#pragma once

#include <functional>
#include <string>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

enum class Order { restart, pause, resume };

class Commands {
 public:
  /// Called once, on the loop's thread: "" when it is done, else why it was not.
  using Done = std::function<void(const std::string& problem)>;

  virtual ~Commands() = default;

  /// Whether there is an instance of this number.
  [[nodiscard]] virtual bool has(unsigned instance) const = 0;

  /// Fills `status`, which lives until `done` is called, once and on the loop's thread.
  virtual void status(unsigned instance, mock_kms::v1::SupervisorStatus& status,
                      std::function<void()> done) = 0;
  virtual void carry_out(Order order, unsigned instance, const std::string& requester, Done done) = 0;

  /// What came after number `after`.
  virtual void events(std::uint64_t after, unsigned instance, mock_kms::v1::EventPage& page) const = 0;
  virtual void output(std::uint64_t after, unsigned instance, mock_kms::v1::OutputPage& page) const = 0;

  /// In Prometheus' text format.
  [[nodiscard]] virtual std::string metrics() const = 0;
};

}  // namespace kms::supervisor
