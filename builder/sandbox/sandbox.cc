#include "builder/sandbox/sandbox.h"

#include <charconv>
#include <string_view>

#include "common/error.h"

namespace kms::builder {
namespace {

constexpr std::string_view step_word = "sandbox-step";
constexpr std::string_view end_word = "--";

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error("cannot read a sandbox: '" + std::string(text) + "' is no number");
  return value;
}

void read_word(std::string_view word, Sandbox& sandbox) {
  const std::size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
  if (name == "readable") {
    sandbox.readable.emplace_back(value);
  } else if (name == "writable") {
    sandbox.writable.emplace_back(value);
  } else if (name == "open") {
    sandbox.open = true;
  } else if (name == "user") {
    sandbox.user = static_cast<uid_t>(number(value));
  } else if (name == "user-namespace") {
    sandbox.user_namespace = true;
  } else if (name == "files") {
    sandbox.files = true;
  } else if (name == "processes") {
    sandbox.processes = true;
  } else if (name == "network") {
    sandbox.network = true;
  } else if (name == "limit-cpu") {
    sandbox.limits.cpu_seconds = number(value);
  } else if (name == "limit-memory") {
    sandbox.limits.memory = number(value);
  } else if (name == "limit-processes") {
    sandbox.limits.processes = number(value);
  } else if (name == "limit-file") {
    sandbox.limits.file_bytes = number(value);
  } else {
    throw Error("cannot read a sandbox: '" + std::string(word) + "' is no word of it");
  }
}

}  // namespace

std::vector<std::string> sandbox_command(const Sandbox& sandbox, const std::vector<std::string>& command) {
  std::vector<std::string> words{"/proc/self/exe", std::string(step_word),
                                 "user=" + std::to_string(sandbox.user)};
  if (sandbox.open) words.emplace_back("open");
  if (sandbox.user_namespace) words.emplace_back("user-namespace");
  if (sandbox.files) words.emplace_back("files");
  if (sandbox.processes) words.emplace_back("processes");
  if (sandbox.network) words.emplace_back("network");
  words.push_back("limit-cpu=" + std::to_string(sandbox.limits.cpu_seconds));
  words.push_back("limit-memory=" + std::to_string(sandbox.limits.memory));
  words.push_back("limit-processes=" + std::to_string(sandbox.limits.processes));
  words.push_back("limit-file=" + std::to_string(sandbox.limits.file_bytes));
  for (const std::string& path : sandbox.readable) words.push_back("readable=" + path);
  for (const std::string& path : sandbox.writable) words.push_back("writable=" + path);
  words.emplace_back(end_word);
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

bool is_sandbox_step(int argc, const char* const* argv) { return argc > 1 && step_word == argv[1]; }

Sandbox read_sandbox(int argc, const char* const* argv, int& command) {
  Sandbox sandbox;
  for (command = 2; command < argc; ++command) {
    if (end_word == argv[command]) {
      ++command;
      return sandbox;
    }
    read_word(argv[command], sandbox);
  }
  throw Error("cannot read a sandbox: its end is missing");
}

}  // namespace kms::builder
