// ControlHandler is the seam between the control server and the supervisor: the server receives calls, the
// supervisor answers them.
//
// All methods are called on the loop's thread. An `instance` is the number of an existing instance, from 1,
// or 0 for all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/error.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

enum class ControlCommand { restart, pause, resume };

class ControlHandler {
 public:
  /// Called once, on the loop's thread, when the command is done or has failed.
  using Done = std::function<void(const Outcome<>&)>;

  virtual ~ControlHandler() = default;

  /// True if there is an instance of this number.
  [[nodiscard]] virtual bool has(unsigned instance) const = 0;

  /// Fills `status`, which lives until `done` is called, once and on the loop's thread. Without `with_binary`
  /// it waits for no file.
  virtual void status(unsigned instance, bool with_binary, mock_kms::v1::SupervisorStatus& status,
                      std::function<void()> done) = 0;
  virtual void execute(ControlCommand command, unsigned instance, const std::string& requester,
                       Done done) = 0;

  /// Fills the page with the entries after number `after`.
  virtual void events(std::uint64_t after, unsigned instance, mock_kms::v1::EventPage& page) const = 0;
  virtual void output(std::uint64_t after, unsigned instance, mock_kms::v1::OutputPage& page) const = 0;

  /// In Prometheus' text format.
  [[nodiscard]] virtual std::string metrics() const = 0;
};

}  // namespace kms::supervisor
