#include "common/build_info/build_info.h"

#include <google/protobuf/util/json_util.h>

#include <fstream>
#include <sstream>

#include "common/text/protobuf.h"

namespace kms {
namespace {

namespace json = google::protobuf::util;
using mock_kms::v1::BuildInfo;

}  // namespace

std::optional<BuildInfo> read_build_info(const std::filesystem::path& file) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none)) return std::nullopt;  // a FIFO would block its reader
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  json::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer builder
  BuildInfo info;
  if (!stream || !json::JsonStringToMessage(text.str(), &info, options).ok()) return std::nullopt;
  return info;
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
