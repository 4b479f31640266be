#include "supervisor/process/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "proto/program/error.h"
#include "proto/program/unique_fd.h"

namespace kms::process {
namespace {

void check(int error, const std::string& what) {
  if (error != 0) throw Error("cannot " + what + ": " + errno_text(error));
}

class FileActions {
 public:
  FileActions() { check(::posix_spawn_file_actions_init(&actions_), "prepare a process"); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

class Attributes {
 public:
  explicit Attributes(bool new_session) {
    check(::posix_spawnattr_init(&attributes_), "prepare a process");
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (new_session) flags |= POSIX_SPAWN_SETSID;
    ::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags));
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& s : strings) result.push_back(const_cast<char*>(s.c_str()));
  result.push_back(nullptr);
  return result;
}

std::string hint_for(int error) {
  if (error == ENOENT) return "check the command's path";
  if (error == EACCES)
    return "make the file executable (chmod +x), on a file system that is not mounted noexec";
  if (error == ENOEXEC) return "the file is no program for this machine";
  return "";
}

}  // namespace

pid_t spawn(const Launch& launch) {
  FileActions actions;
  // Sources are copied above all targets first: otherwise one dup2 could overwrite the source of a later one.
  std::vector<UniqueFd> sources;
  const int count = static_cast<int>(launch.fds.size());
  for (int target = 0; target < count; ++target) {
    const int fd = launch.fds[static_cast<std::size_t>(target)];
    if (fd < 0) {
      check(::posix_spawn_file_actions_addopen(actions.get(), target, "/dev/null", O_RDWR, 0),
            "prepare /dev/null");
      continue;
    }
    UniqueFd& source = sources.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, std::max(count, 3)));
    if (!source) throw_errno("copy a file descriptor");
    check(::posix_spawn_file_actions_adddup2(actions.get(), source.get(), target), "pass a file descriptor");
  }
  check(::posix_spawn_file_actions_addclosefrom_np(actions.get(), count), "close inherited descriptors");
  if (!launch.working_directory.empty()) {
    check(::posix_spawn_file_actions_addchdir_np(actions.get(), launch.working_directory.c_str()),
          "set the folder");
  }
  Attributes attributes(launch.new_session);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, launch.command.at(0).c_str(), actions.get(), attributes.get(),
                                   pointers(launch.command).data(), pointers(launch.environment).data());
  if (error != 0) {
    throw Error("cannot start " + launch.command[0] + ": " + errno_text(error), hint_for(error));
  }
  return pid;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) result.emplace_back(*entry);
  return result;
}

}  // namespace kms::process
