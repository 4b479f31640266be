// ControlClient calls a running supervisor over its control socket.
//
// One thread, blocking. Each call opens a connection. An Error's code is `unreachable` if no supervisor
// answers, `invalid_input` if there is no such instance, `failed` if the supervisor could not do what was
// asked.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "common/error.h"
#include "common/net/endpoint.h"
#include "common/text/time.h"
#include "proto/supervisor_control.grpc.pb.h"
#include "supervisor/control/handler.h"

namespace kms::supervisor {

class ControlClient {
 public:
  /// `instance` counts from 1; 0 means all of them.
  ControlClient(Endpoint control, unsigned instance) : control_(std::move(control)), instance_(instance) {}

  /// Without `with_binary` the answer waits for no file of the plugin.
  [[nodiscard]] Outcome<mock_kms::v1::SupervisorStatus> status(Duration timeout,
                                                               bool with_binary = true) const;

  /// The entries with a number above `after`.
  [[nodiscard]] Outcome<mock_kms::v1::EventPage> events(std::uint64_t after, Duration timeout) const;
  [[nodiscard]] Outcome<mock_kms::v1::OutputPage> output(std::uint64_t after, Duration timeout) const;

  /// In Prometheus' text format.
  [[nodiscard]] Outcome<std::string> metrics(Duration timeout) const;

  /// Returns when the command is done.
  [[nodiscard]] Outcome<> execute(ControlCommand command, Duration timeout) const;

 private:
  using Stub = mock_kms::v1::SupervisorControl::Stub;
  using Call = std::function<grpc::Status(Stub&, grpc::ClientContext&)>;

  [[nodiscard]] Outcome<> call(Duration timeout, const Error& on_timeout, const Call& call) const;

  template <class Answer, class Request>
  [[nodiscard]] Outcome<Answer> read(Duration timeout, const Request& request,
                                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                  Answer*)) const;

  [[nodiscard]] Error cannot_connect(int error) const;
  [[nodiscard]] Error not_a_supervisor() const;

  Endpoint control_;
  unsigned instance_;
  mutable std::optional<std::string> others_;  ///< other supervisors; looked for once, when nobody answers
};

}  // namespace kms::supervisor
