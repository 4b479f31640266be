#include "supervisor/output/plugin_output.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/io/fd.h"

using kms::UniqueFd;
using kms::supervisor::OutputPipe;

namespace {

void write_all(const UniqueFd& fd, const std::string& text) {
  REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("the last lines are kept, an unfinished one too once the process is gone") {
  asio::io_context loop;
  OutputPipe output(loop, [](const std::string&) {});
  UniqueFd writer(output.open());
  for (int i = 1; i <= 30; ++i) write_all(writer, "line " + std::to_string(i) + "\n");
  write_all(writer, "no end");
  writer.reset();
  output.drain();
  const auto lines = output.last_lines();
  REQUIRE(lines.size() == OutputPipe::kept_lines);
  CHECK(lines.front() == "line 12");
  CHECK(lines.back() == "no end");
}

TEST_CASE("output arrives through the loop, pieces of a line put together") {
  asio::io_context loop;
  OutputPipe output(loop, [](const std::string&) {});
  UniqueFd writer(output.open());
  write_all(writer, "first ");
  loop.poll();
  write_all(writer, "line\nsecond\n");
  loop.poll();
  CHECK(output.last_lines() == std::vector<std::string>{"first line", "second"});
}

TEST_CASE("a line without an end does not grow without bound") {
  asio::io_context loop;
  OutputPipe output(loop, [](const std::string&) {});
  UniqueFd writer(output.open());
  for (int i = 0; i < 100; ++i) {
    write_all(writer, std::string(10000, 'x'));
    loop.poll();
    loop.restart();
  }
  for (const auto& line : output.last_lines()) CHECK(line.size() <= OutputPipe::max_line);
  CHECK(output.last_lines().size() == OutputPipe::kept_lines);
}
