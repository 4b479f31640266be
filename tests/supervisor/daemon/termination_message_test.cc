#include "supervisor/daemon/termination_message.h"

#include <doctest/doctest.h>

#include <functional>

#include "common/log/termination_message.h"
#include "common/text/escape.h"

using kms::max_termination_message;
using kms::supervisor::FailedInstance;
using kms::supervisor::termination_message;
using mock_kms::v1::Exit;

namespace {

Exit exit_of(unsigned code, const std::string& cause, const std::vector<std::string>& lines = {}) {
  Exit exit;
  exit.set_status("exited with code " + std::to_string(code));
  exit.set_cause(cause);
  for (const std::string& line : lines) exit.add_last_lines(line);
  return exit;
}

std::string message_of(const std::vector<Exit>& exits) {
  std::vector<FailedInstance> failed;
  for (const Exit& exit : exits)
    failed.push_back({exits.size() == 1 ? 0 : static_cast<unsigned>(failed.size() + 1), &exit});
  return termination_message(failed);
}

std::vector<Exit> exits_of(unsigned count, const std::function<Exit(unsigned)>& exit) {
  std::vector<Exit> exits;
  for (unsigned number = 1; number <= count; ++number) exits.push_back(exit(number));
  return exits;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the message has the cause and the last lines of the only plugin") {
  CHECK(message_of({exit_of(7, "it ended by itself", {"starting", "no seed"})}) ==
        "supervisor: ended on its own; the plugin exited with code 7: it ended by itself\n"
        "| starting\n| no seed\n");
}

TEST_CASE("instances that failed alike share a line") {
  const std::string text = message_of(exits_of(
      100, [](unsigned number) { return exit_of(number == 50 ? 4 : 3, "it ended by itself", {"no seed"}); }));
  CHECK(text ==
        "supervisor: ended on its own; instances 1-49, 51-100: the plugin exited with code 3: it ended by "
        "itself\n"
        "instance 50: the plugin exited with code 4: it ended by itself\n"
        "| no seed\n| no seed\n");
}

TEST_CASE("many instances that failed in different ways keep their exit codes") {
  const std::string text = message_of(exits_of(100, [](unsigned number) {
    return exit_of(number, "it ended by itself; its last lines may say why", {"no seed"});
  }));
  CHECK(text.size() <= max_termination_message);
  for (unsigned number = 1; number <= 100; ++number) {
    const std::string digits = std::to_string(number);
    CHECK(contains(text, "instance " + digits + ": exited with code " + digits + "\n"));
  }
}

TEST_CASE("many instances that failed for causes of their own show the first one") {
  const std::string text = message_of(exits_of(40, [](unsigned number) {
    Exit exit = exit_of(0, "there is no file /plugin" + std::to_string(number));
    exit.set_status("was not started");
    return exit;
  }));
  CHECK(
      text ==
      "supervisor: ended on its own; instances 1-40: the plugin was not started; the first: there is no file "
      "/plugin1\n");
}

TEST_CASE("a thousand instances that failed by turns keep both exit codes") {
  const std::string text =
      message_of(exits_of(1000, [](unsigned number) { return exit_of(number % 2, "it ended by itself"); }));
  CHECK(text.size() <= max_termination_message);
  CHECK(contains(text, "instances 1, 3, 5, 7, 9, 11, 13, 15 and 492 more: the plugin exited with code 1: "));
  CHECK(contains(text, "instances 2, 4, 6, 8, 10, 12, 14, 16 and 492 more: the plugin exited with code 0: "));
}

TEST_CASE("a long cause takes only the room that the others leave") {
  const std::string text =
      message_of({exit_of(1, std::string(9000, 'x')), exit_of(2, std::string(3000, 'y'))});
  CHECK(text.size() <= max_termination_message);
  CHECK(text.size() > max_termination_message - 10);
  CHECK(contains(text, "instance 2: the plugin exited with code 2: " + std::string(1500, 'y')));
  const std::string with_short = message_of({exit_of(1, std::string(9000, 'x')), exit_of(2, "short")});
  CHECK(contains(with_short, std::string(3800, 'x')));
  CHECK(contains(with_short, "instance 2: the plugin exited with code 2: short\n"));
}

TEST_CASE("a last line that is too long is cut between two characters") {
  std::string line;
  for (int i = 0; i < 3000; ++i) line += "\u00e9";
  for (const char* start : {"", "x"}) {  // the cut comes at an odd and at an even byte
    const std::string text = message_of({exit_of(7, "it ended by itself", {"older", start + line})});
    CHECK(text.size() <= max_termination_message);
    CHECK(text.size() > max_termination_message - 10);
    CHECK(contains(text, std::string("\n| ") + start + "\u00e9\u00e9"));
    CHECK(kms::utf8_text(text) == text);
  }
}
