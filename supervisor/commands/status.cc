#include "supervisor/commands/status.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "common/cli/exit_code.h"
#include "common/text/time.h"
#include "supervisor/control/client.h"
#include "supervisor/control/status_text.h"
#include "supervisor/probe/self_report.h"

namespace kms::supervisor {
namespace {

using mock_kms::v1::SupervisorStatus;
using Clock = std::chrono::steady_clock;

constexpr Duration answer_timeout = std::chrono::seconds(2);
constexpr Duration wait_interval = std::chrono::milliseconds(50);
constexpr Duration follow_interval = std::chrono::seconds(1);

/// A supervisor that answers lives, unless all that it kept has ended for good: only a new one brings that
/// back.
bool live(const SupervisorStatus& status) {
  if (status.instances_size() == 0) return status.state() != mock_kms::v1::STOPPED;
  return std::any_of(status.instances().begin(), status.instances().end(), live);
}

bool good(const Reply<SupervisorStatus>& reply, const StatusRequest& request) {
  const auto* status = std::get_if<SupervisorStatus>(&reply);
  if (status == nullptr) return false;
  return request.live ? live(*status) : request.ready ? status->ready() : status->healthy();
}

int exit_code_of(const Reply<SupervisorStatus>& reply, const StatusRequest& request) {
  if (const auto* none = std::get_if<NoAnswer>(&reply)) return none->exit_code;
  return good(reply, request) ? exit_code::ok : exit_code::failed;
}

Reply<SupervisorStatus> ask(const ControlClient& client) {
  auto reply = client.ask(answer_timeout);
  if (auto* status = std::get_if<SupervisorStatus>(&reply)) add_self_report(*status);
  return reply;
}

Reply<SupervisorStatus> ask_and_wait(const ControlClient& client, const StatusRequest& request) {
  const auto until = Clock::now() + request.wait.value_or(Duration{0});
  for (;;) {
    auto reply = ask(client);
    const bool in_vain = exit_code_of(reply, request) == exit_code::usage;
    if (good(reply, request) || in_vain || Clock::now() + wait_interval > until) return reply;
    std::this_thread::sleep_for(wait_interval);
  }
}

std::string ready_line(const SupervisorStatus& status) {
  if (status.instances_size() > 0) return status.ready() ? "ready" : "not ready: " + status.reason();
  return status.ready() ? "ready: pid " + std::to_string(status.pid()) : "not ready: " + status.reason();
}

std::string live_line(const SupervisorStatus& status) {
  return live(status) ? "live: pid " + std::to_string(status.supervisor_pid())
                      : "not live: " + status.reason();
}

/// Colours where a person looks, and has not asked for none (no-color.org).
Colours wanted_colours() {
  const char* refused = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool can =
      ::isatty(STDOUT_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
  return can && (refused == nullptr || *refused == '\0') ? Colours::ansi : Colours::none;
}

void print(const SupervisorStatus& status, const StatusRequest& request) {
  std::string text;
  if (request.output == "json") {
    text = status_json(status);
  } else if (request.live || request.ready) {
    text = (request.live ? live_line(status) : ready_line(status)) + "\n";
  } else {
    text = status_text(status, std::chrono::system_clock::now(), wanted_colours());
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// Cuts every line to what fits into one row of the terminal, so that the rows can be counted. Colours and
/// the bytes of a character beyond its first take no column.
std::string clipped(const std::string& text, std::size_t columns) {
  std::string clipped;
  for (const std::string& line : lines_of(text)) {
    std::size_t column = 0;
    bool in_escape = false;
    for (const char c : line) {
      in_escape |= c == '\033';
      const bool takes_column = !in_escape && (static_cast<unsigned char>(c) & 0xC0) != 0x80;
      if (!takes_column || ++column <= columns)
        clipped += c;  // what ends a colour is kept behind the cut too
      if (c == 'm') in_escape = false;
    }
    clipped += "\n";
  }
  return clipped;
}

/// Draws the status over the one that was drawn before, and leaves alone what stands above it.
class Screen {
 public:
  void draw(const std::string& text) {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1;
    std::string shown = clipped(text, known ? size.ws_col : 80);
    std::size_t rows = static_cast<std::size_t>(std::count(shown.begin(), shown.end(), '\n'));
    for (const std::size_t most = known ? size.ws_row - 1U : 24U; rows > most; --rows) {
      shown.erase(shown.rfind('\n', shown.size() - 2) + 1);  // the first line, healthy or not, stays in sight
    }
    if (rows_ > 0) std::printf("\033[%zuA\033[J", rows_);  // up, and clear to the end (ECMA-48)
    std::fputs(shown.c_str(), stdout);
    rows_ = rows;
  }

 private:
  std::size_t rows_ = 0;
};

/// A document a line, each second one; who does not answer is told on stderr.
[[noreturn]] void follow_as_json(const ControlClient& client) {
  for (;;) {
    const auto reply = ask(client);
    if (const auto* none = std::get_if<NoAnswer>(&reply)) {
      std::fprintf(stderr, "supervisor: %s\n", none->failure.line().c_str());
    } else {
      std::printf("%s\n", status_json_line(std::get<SupervisorStatus>(reply)).c_str());
      std::fflush(stdout);
    }
    std::this_thread::sleep_for(follow_interval);
  }
}

/// On a terminal a screen; elsewhere each change is a line.
[[noreturn]] void follow(const ControlClient& client) {
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  Screen screen;
  std::string last_line;
  for (;;) {
    const auto reply = ask(client);
    const auto now = std::chrono::system_clock::now();
    const auto* none = std::get_if<NoAnswer>(&reply);
    const auto* status = std::get_if<SupervisorStatus>(&reply);
    if (terminal) {
      screen.draw(none != nullptr ? none->failure.line() + "\n"
                                  : status_text(*status, now, wanted_colours()));
    } else if (const std::string line = none != nullptr ? none->failure.line() : status_line(*status);
               line != last_line) {
      std::printf("%s %s\n", rfc3339(now).c_str(), line.c_str());
      last_line = line;
    }
    std::fflush(stdout);
    std::this_thread::sleep_for(follow_interval);
  }
}

}  // namespace

int run_status(const Endpoint& control, const StatusRequest& request) {
  const ControlClient client(control, request.instance);
  if (request.follow && request.output == "json") follow_as_json(client);
  if (request.follow) follow(client);
  const auto reply = ask_and_wait(client, request);
  if (const auto* none = std::get_if<NoAnswer>(&reply)) {
    std::fprintf(stderr, "supervisor: %s\n", none->failure.line().c_str());
  } else {
    print(std::get<SupervisorStatus>(reply), request);
  }
  return exit_code_of(reply, request);
}

}  // namespace kms::supervisor
