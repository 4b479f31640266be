#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>

#include "builder/sandbox/step.h"
#include "common/error.h"
#include "common/io/fd.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

/// The directory in which the new root is assembled. Every system has it, and its content is no longer
/// needed.
constexpr auto stage = "/proc";

constexpr auto devices = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};

/// For programs that write to /tmp whatever TMPDIR says.
constexpr auto tmpfs_options = "size=64m,mode=1777";

enum class Access { read_only, read_write, device };

fs::path staged(const fs::path& path) { return fs::path(stage) += path; }

bool covers(const std::string& directory, const std::string& path) {
  return path == directory || path.starts_with(directory + "/");
}

/// A copy of the mount at `path`, not attached yet.
UniqueFd detached(const std::string& path, Access access) {
  UniqueFd tree(::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree) throw_errno("mount " + path + " for the compiler");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID;
  if (access != Access::device) attributes.attr_set |= MOUNT_ATTR_NODEV;
  if (access == Access::read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) < 0)
    throw_errno("protect " + path + " from the compiler");
  return tree;
}

void place(const UniqueFd& tree, const std::string& path, bool directory) {
  const fs::path target = staged(path);
  std::error_code ignored;  // below a read-only mount it is there already
  fs::create_directories(directory ? target : target.parent_path(), ignored);
  if (!directory && !fs::exists(target))
    UniqueFd(::open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (::move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0)
    throw_errno("mount " + path + " for the compiler");
}

void mount_new(const char* type, const std::string& path, const char* options) {
  const fs::path target = staged(path);
  fs::create_directories(target);
  unsigned long flags = MS_NOSUID | MS_NODEV;
  if (*options == '\0') flags |= MS_NOEXEC;
  if (::mount(type, target.c_str(), type, flags, options) < 0)
    throw_errno("mount " + path + " for the compiler");
}

struct Piece {
  std::string path;
  bool directory = false;
  UniqueFd tree;     ///< empty if it is a link
  std::string link;  ///< the link's target
};

/// Runs before the stage hides anything.
std::vector<Piece> collect(const Sandbox& sandbox) {
  std::vector<Piece> pieces;
  const auto add = [&](const std::string& path, Access access) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) < 0) return;
    if (access == Access::read_only) {
      for (const Piece& piece : pieces) {
        if (covers(piece.path, path)) return;
      }
      if (S_ISLNK(status.st_mode)) {
        std::error_code broken;  // further links to the target may not be in the view
        const fs::path end = fs::canonical(path, broken);
        pieces.push_back({path, false, {}, broken ? fs::read_symlink(path) : end});
        return;
      }
    }
    pieces.push_back({path, S_ISDIR(status.st_mode), detached(path, access), ""});
  };
  for (const std::string& path : sandbox.readable) add(path, Access::read_only);
  for (const std::string& path : sandbox.writable) add(path, Access::read_write);
  for (const char* path : devices) add(path, Access::device);
  return pieces;
}

void furnish(const std::vector<Piece>& pieces) {
  fs::create_directory(staged("/dev"));
  mount_new("tmpfs", "/tmp", tmpfs_options);
  mount_new("tmpfs", "/dev/shm", tmpfs_options);
  for (const Piece& piece : pieces) {
    if (piece.tree) {
      place(piece.tree, piece.path, piece.directory);
    } else {
      fs::create_directories(staged(piece.path).parent_path());
      fs::create_symlink(piece.link, staged(piece.path));
    }
  }
  fs::create_symlink("/proc/self/fd", staged("/dev/fd"));
  for (const char* name : {"stdin", "stdout", "stderr"}) {
    const char number = name[3] == 'i' ? '0' : name[3] == 'o' ? '1' : '2';
    fs::create_symlink(std::string("/proc/self/fd/") + number, staged(std::string("/dev/") + name));
  }
  mount_new("proc", "/proc", "");
}

/// pivot_root(".", ".") stacks the old root on the new one, which is then unmounted (pivot_root(2)).
void change_root() {
  if (::chdir(stage) < 0 || ::syscall(SYS_pivot_root, ".", ".") < 0 || ::umount2(".", MNT_DETACH) < 0 ||
      ::chdir("/") < 0)
    throw_errno("change the compiler's root");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(AT_FDCWD, "/", 0, &attributes, sizeof attributes) < 0)
    throw_errno("protect the compiler's root");
}

}  // namespace

void enter_private_root(const Sandbox& sandbox) {
  // New mounts must not reach the namespace around this one.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    throw_errno("separate the compiler's mounts");
  const std::vector<Piece> pieces = collect(sandbox);
  if (::mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755") < 0)
    throw_errno("mount a root for the compiler");
  furnish(pieces);
  change_root();
}

}  // namespace kms::builder
