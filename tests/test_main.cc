#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

/// No variable of the programs reaches a test, such as the MOCK_KMS_SOCKET that `scripts/run` tells its user
/// to export.
void clean_environment() {
  std::vector<std::string> names;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text(*variable);
    if (text.starts_with("BUILDER_") || text.starts_with("SUPERVISOR_") || text.starts_with("MOCK_KMS_")) {
      names.push_back(text.substr(0, text.find('=')));
    }
  }
  for (const auto& name : names) ::unsetenv(name.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  clean_environment();
  return doctest::Context(argc, argv).run();
}
