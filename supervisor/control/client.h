// ControlClient asks a running supervisor for its status, or for work, over the control socket. One thread,
// blocking; each call has a connection of its own.
#pragma once

#include <functional>
#include <optional>
#include <variant>

#include "common/error.h"
#include "common/net/endpoint.h"
#include "common/text/time.h"
#include "proto/supervisor_control.grpc.pb.h"
#include "supervisor/control/handler.h"

namespace kms::supervisor {

/// Why a command was not carried out, and what to exit with.
struct NoAnswer {
  Error failure;
  int exit_code;
};

template <class Message>
using Reply = std::variant<Message, NoAnswer>;

class ControlClient {
 public:
  /// `instance` counts from 1; 0 means all of them.
  ControlClient(Endpoint control, unsigned instance) : control_(std::move(control)), instance_(instance) {}

  /// One answer within `timeout`.
  [[nodiscard]] Reply<mock_kms::v1::SupervisorStatus> ask(Duration timeout) const;

  /// What happened after the event, or was written after the line, with number `after`.
  [[nodiscard]] Reply<mock_kms::v1::EventPage> events(std::uint64_t after, Duration timeout) const;
  [[nodiscard]] Reply<mock_kms::v1::OutputPage> output(std::uint64_t after, Duration timeout) const;

  /// In Prometheus' text format.
  [[nodiscard]] Reply<mock_kms::v1::MetricsReply> metrics(Duration timeout) const;

  /// Nothing when the command was carried out within `timeout`.
  [[nodiscard]] std::optional<NoAnswer> tell(ControlCommand command, Duration timeout) const;

 private:
  using Stub = mock_kms::v1::SupervisorControl::Stub;
  using Call = std::function<grpc::Status(Stub&, grpc::ClientContext&)>;

  [[nodiscard]] std::optional<NoAnswer> call(Duration timeout, const Call& call) const;

  template <class Answer, class Request>
  [[nodiscard]] Reply<Answer> read(Duration timeout, const Request& request,
                                   grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                Answer*)) const;

  Endpoint control_;
  unsigned instance_;
};

}  // namespace kms::supervisor
