#include "provider/serve.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/log/log.h"
#include "common/process/signals.h"
#include "common/text/protobuf.h"
#include "provider/keys/key_versions.h"
#include "provider/server/kms_service.h"
#include "provider/server/listening_socket.h"
#include "provider/server/server.h"
#include "provider/turn.h"

namespace kms::provider {
namespace {

using Clock = std::chrono::steady_clock;
using mock_kms::v1::Fault;
using mock_kms::v1::FaultUse;

/// Drains on a thread of its own, so that this one can see a second signal.
int drain(Server& server, const process::SignalFd& stop, Duration grace) {
  const UniqueFd drained(::eventfd(0, EFD_CLOEXEC));
  if (!drained) throw_errno("make an event descriptor");
  const auto begun = Clock::now();
  int cut_off = 0;
  std::thread draining([&] {
    cut_off = server.drain(grace);
    ::eventfd_write(drained.get(), 1);
  });
  std::array watched{pollfd{drained.get(), POLLIN, 0}, pollfd{stop.fd(), POLLIN, 0}};
  while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  if (watched[0].revents == 0) {
    log::warning("second signal; calls in flight are cut off",
                 {{"signal", process::signal_name(stop.take())}});
    std::_Exit(exit_code::failed);
  }
  draining.join();
  const std::string took = human_duration(Clock::now() - begun);
  if (cut_off == 0) {
    log::info("drained", {{"took", took}});
  } else {
    log::warning("the drain grace is over; calls that were still in flight are cut off",
                 {{"calls", cut_off}, {"took", took}});
  }
  return exit_code::ok;
}

/// Sets the faults, and waits out a late start. False where the process is told to end before that.
bool begin_with(const ServeSetup& setup, Faults& faults, const process::SignalFd& stop) {
  for (const Fault& fault : setup.faults) faults.add(fault);
  faults.declare({setup.config.faults().begin(), setup.config.faults().end()}, FaultUse::FILE);
  Duration late{0};
  const auto set = faults.list();
  for (const FaultUse& use : set.faults()) {
    if (use.applies_here() && !use.replaced()) late = std::max(late, from_proto(use.fault().late_start()));
  }
  if (late <= Duration{0}) return true;
  log::warning("a fault delays the start", {{"by", human_duration(late)}});
  pollfd stopping{stop.fd(), POLLIN, 0};
  const auto until = Clock::now() + late;
  for (auto now = Clock::now(); now < until; now = Clock::now()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    if (::poll(&stopping, 1, static_cast<int>(std::min<decltype(left)>(left, 1000))) == 1) return false;
  }
  return true;
}

/// Until a signal that ends the service, whose name it returns. SIGHUP has the configuration read again.
std::string wait_for_end(const process::SignalFd& stop, const process::SignalFd& hang_up, Turn& turn) {
  std::array watched{pollfd{stop.fd(), POLLIN, 0}, pollfd{hang_up.fd(), POLLIN, 0}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno != EINTR) throw_errno("wait for signals");
      continue;
    }
    if (watched[0].revents != 0) return process::signal_name(stop.take());
    if (watched[1].revents == 0) continue;
    (void)hang_up.take();
    turn.read_config_again();
  }
}

std::string node_name() {
  const char* name = std::getenv("NODE_NAME");
  return name == nullptr ? "" : name;
}

std::optional<StateFile> state_file(const ServeOptions& options) {
  if (options.state_dir.empty()) return std::nullopt;
  return StateFile(options.state_dir, options.instance);
}

void warn_about(const ServeOptions& options) {
  if (options.seed_file.empty()) {
    log::warning(
        "keys are derived from the published test seed and protect nothing; set --seed-file to change that");
  }
  if (!options.config_file_path.empty()) {
    log::info("the SoftHSM configuration is not needed: keys are derived, and there is no PKCS #11 module",
              {{"file", options.config_file_path}});
  }
}

}  // namespace

void forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) throw_errno("forbid core dumps by RLIMIT_CORE");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) throw_errno("forbid core dumps by PR_SET_DUMPABLE");
}

int serve(ServeSetup setup, Clock::time_point begun) {
  // Whoever reads our log may go away; that must not end the service.
  std::signal(SIGPIPE, SIG_IGN);
  const process::SignalFd stop{SIGTERM, SIGINT};
  const process::SignalFd hang_up{SIGHUP};
  const ServeOptions& options = setup.options;
  warn_about(options);
  Journal journal;
  KeyRing keys(std::move(setup.seed), options.instance,
               std::max(options.key_version, setup.config.key_version()));
  KeyVersions versions(keys, state_file(options), [&](const KeyVersions::Rotation& rotation) {
    const std::string& key_id = keys.at(rotation.to)->id_text;
    log::info("rotated the key", {{"from", rotation.from}, {"to", rotation.to}, {"key_id", key_id}});
    journal.note("rotated the key from version " + std::to_string(rotation.from) + " to " + key_id);
  });
  versions.take_up_stored();
  const KmsService service(keys);
  Faults faults(FaultPlan(options.random_seed, node_name(), options.instance));
  if (!begin_with(setup, faults, stop)) return exit_code::ok;
  Turn turn(setup, node_name(), {keys, versions, faults, journal}, stop);

  // Listens before gRPC is up: a client that connects meanwhile waits in the kernel instead of being refused.
  ListeningSocket socket(setup.endpoint, setup.access);
  Server server(service, faults, journal, options.timeout);
  if (UniqueFd probe = socket.take_probe()) server.serve_connection(std::move(probe));
  if (setup.metrics) journal.measure_latencies();
  if (!socket.handed_down()) turn.begin(false);
  log::info("started", {{"endpoint", setup.endpoint.uri()},
                        {"socket", socket.description()},
                        {"key_id", keys.current()->id_text},
                        {"ready_after", human_duration(Clock::now() - begun)}});
  if (socket.wait_for_turn(stop.fd())) {
    if (socket.handed_down()) turn.begin(true);
    server.accept_on(socket.fd(), setup.access);
  }

  const std::string signal = wait_for_end(stop, hang_up, turn);
  log::info("stopping; calls in flight may finish",
            {{"signal", signal}, {"grace", human_duration(options.drain_grace)}});
  server.stop_accepting();  // what connects from now on is for whoever takes this process' place
  turn.end();
  socket.release();
  return drain(server, stop, options.drain_grace);
}

}  // namespace kms::provider
