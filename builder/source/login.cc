#include "builder/source/login.h"

#include <cstdlib>
#include <fstream>

#include "common/error.h"

namespace kms::builder {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Secret read_secret(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string line;
  if (!stream) throw_errno("read " + file.string());
  std::getline(stream, line);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  if (line.empty()) throw Error("cannot use " + file.string() + ": its first line is empty");
  return Secret(std::move(line));
}

void complete_from_environment(Login& login) {
  if (login.home.empty()) login.home = variable("HOME");
  if (login.user.empty()) login.user = variable("GIT_USERNAME");
  if (login.password.empty()) login.password = Secret(variable("GIT_PASSWORD"));
  if (login.password.empty()) login.password = Secret(variable("GIT_TOKEN"));
  if (login.user.empty() && !login.password.empty()) login.user = "git";
}

}  // namespace kms::builder
