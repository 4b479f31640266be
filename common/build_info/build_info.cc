#include "common/build_info/build_info.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>

#include "common/io/fd.h"
#include "common/text/protobuf.h"

namespace kms {
namespace {

namespace json = google::protobuf::util;
using mock_kms::v1::BuildInfo;

constexpr std::size_t max_size = std::size_t{1024} * 1024;

}  // namespace

Outcome<BuildInfo> read_build_info(const std::filesystem::path& file) try {
  const auto refused = [&](const std::string& cause) {
    return Error("cannot read " + file.string() + ": " + cause, "build the plugin again");
  };
  const UniqueFd fd(
      ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));  // a FIFO would block its reader
  if (!fd) return refused(errno_text(errno));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) return refused("it is not a regular file");
  const std::string text = read_at_most(fd.get(), max_size, file);
  if (text.size() > max_size) return refused("it is longer than 1 MiB");
  json::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer builder
  BuildInfo info;
  if (!json::JsonStringToMessage(text, &info, options).ok()) return refused("it is not a build info");
  return info;
} catch (const Error& error) {
  return error;
}

std::optional<BuildInfo> build_info_describing(const BuildInfo& file, const std::string& sha256) {
  const bool own = file.binary().sha256() == sha256;
  if (!own && file.previous().binary().sha256() != sha256) return std::nullopt;
  BuildInfo info = own ? file : file.previous();
  info.clear_previous();
  return info;
}

std::string build_info_json(const BuildInfo& info) { return to_short_json(info, JsonLayout::document); }

}  // namespace kms
