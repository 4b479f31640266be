#include "builder/source/known_hosts.h"

#include <cstdlib>

#include "common/error.h"

namespace kms::builder {

KnownHosts::KnownHosts(const std::filesystem::path& file, const std::filesystem::path& scratch) {
  namespace fs = std::filesystem;
  const fs::path home = scratch / "home";
  std::error_code error;
  fs::create_directories(home / ".ssh", error);
  if (!error) fs::copy_file(file, home / ".ssh" / "known_hosts", fs::copy_options::overwrite_existing, error);
  if (error) throw Error("cannot read " + file.string() + ": " + error.message(), "check --known-hosts");
  if (const char* old = std::getenv("HOME"); old != nullptr) home_before_ = old;
  ::setenv("HOME", home.c_str(), 1);
}

KnownHosts::~KnownHosts() { home_before_ ? ::setenv("HOME", home_before_->c_str(), 1) : ::unsetenv("HOME"); }

}  // namespace kms::builder
