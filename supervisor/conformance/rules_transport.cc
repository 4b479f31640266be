// Rules 1 to 9.
#include <algorithm>

#include "supervisor/conformance/rules.h"

namespace kms::supervisor::conformance {
namespace {

bool spoke(const CallSeen& call) {
  return call.answered() || call.refused() || call.ended == Ended::unreadable;
}

/// The first call that ended this way, or nullptr.
const CallSeen* first(const Observations& seen, Ended ended) {
  const auto calls = seen.calls();
  const auto found =
      std::find_if(calls.begin(), calls.end(), [&](const CallSeen* call) { return call->ended == ended; });
  return found == calls.end() ? nullptr : *found;
}

Finding speaks_grpc(const Observations& seen) {
  const auto calls = seen.calls();
  const auto found =
      std::find_if(calls.begin(), calls.end(), [](const CallSeen* call) { return spoke(*call); });
  if (found != calls.end()) return pass(std::string((*found)->method) + " came back over it");
  if (seen.other_authority && spoke(*seen.other_authority)) return pass("Status came back over it");
  if (first(seen, Ended::timed_out) != nullptr) return not_applicable("nothing came back at all");
  return fail("no gRPC came back; " + without_answer(seen.statuses.front()));
}

Finding has_the_methods(const Observations& seen) {
  std::string found;
  for (const CallSeen* call : seen.calls()) {
    const std::string name = call->method;
    if (unimplemented(*call) || call->ended == Ended::unreadable) return fail(without_answer(*call));
    if (spoke(*call) && found.find(name) == std::string::npos) found += (found.empty() ? "" : ", ") + name;
  }
  return found.empty() ? not_applicable("nothing came back") : pass(found);
}

Finding takes_localhost(const Observations& seen) {
  const CallSeen& asked = seen.statuses.front();
  if (asked.answered()) return pass("every call was sent with it");
  if (seen.refuses_localhost()) {
    return fail("another :authority was answered; with localhost " + without_answer(asked));
  }
  return not_applicable(without_answer(asked));
}

Finding answers_in_time(const Observations& seen) {
  if (const CallSeen* slow = first(seen, Ended::timed_out)) return fail(without_answer(*slow));
  Duration max{0};
  for (const CallSeen* call : seen.calls()) max = std::max(max, spoke(*call) ? call->took : Duration{0});
  if (seen.out_of_time) {
    return not_applicable(
        "the check's --deadline was over before all calls were made; the slowest answer took " +
        human_duration(max) + " of " + go_duration(seen.timeout));
  }
  if (max == Duration{0}) return not_applicable("nothing came back");
  return pass("the first answer took " + human_duration(seen.statuses.front().took) + ", the slowest " +
              human_duration(max) + " of " + go_duration(seen.timeout));
}

Finding serves_several_at_once(const Observations& seen) {
  const Burst& burst = seen.concurrent;
  const std::string sent = std::to_string(burst.calls.size()) + " calls at once over " +
                           std::to_string(burst.connections) + " connections";
  if (burst.calls.empty()) return not_applicable("single calls of Status or Encrypt are not answered either");
  for (const CallSeen& call : burst.calls) {
    if (call.ended == Ended::not_asked) return not_applicable(without_answer(call));
    if (!call.answered()) return fail("of " + sent + " one was not answered; " + without_answer(call));
  }
  return pass(sent + " were answered");
}

Finding is_reachable_again(const Observations& seen) {
  const CallSeen& last = seen.renewed;
  const std::string broke = seen.broken_connections == 0 ? "closed by the check"
                            : seen.broken_connections == 1
                                ? "one broke under a call"
                                : std::to_string(seen.broken_connections) + " broke under calls";
  if (spoke(last)) return pass("a new connection was answered; the connections before it: " + broke);
  if (first(seen, Ended::answered) == nullptr && first(seen, Ended::refused) == nullptr) {
    return not_applicable("it was never reached");
  }
  if (last.ended == Ended::timed_out || seen.broken_connections == 0)
    return not_applicable(without_answer(last));
  return fail("connections before it: " + broke + "; then " + without_answer(last));
}

Finding keeps_the_path(const Observations&) { return not_visible("it shows when the plugin restarts"); }
Finding respects_a_live_socket(const Observations&) {
  return not_visible("it shows when a second plugin is started on the path");
}

Finding keeps_others_out(const Observations& seen) {
  if (seen.socket == SocketSeen::open_to_all) return fail("open to every user of the machine");
  if (seen.socket == SocketSeen::abstract) {
    return not_visible(
        "an abstract socket has no mode; only another user can see whether the plugin refuses it");
  }
  return pass("its mode, or a directory's above it, keeps other users out");
}

constexpr Rule transport_table[] = {
    {1, Level::must, "serves gRPC without TLS on a Unix socket", speaks_grpc},
    {2, Level::must, "implements Status, Encrypt and Decrypt", has_the_methods},
    {3, Level::must, "accepts calls whose :authority is localhost", takes_localhost},
    {4, Level::must, "answers within the call's deadline", answers_in_time},
    {5, Level::must, "serves several connections and concurrent calls", serves_several_at_once},
    {6, Level::must, "can be reached again after a connection or the plugin dies", is_reachable_again},
    {7, Level::should, "keeps the path listening while it restarts", keeps_the_path},
    {8, Level::should, "starts over a stale socket, not over a live one", respects_a_live_socket},
    {9, Level::should, "lets only its user and the API server's user open the socket", keeps_others_out},
};

}  // namespace

std::span<const Rule> transport_rules() { return transport_table; }

}  // namespace kms::supervisor::conformance
