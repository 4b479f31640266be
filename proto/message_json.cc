#include "proto/message_json.h"

#include <google/protobuf/util/json_util.h>

#include <string_view>

#include "proto/program/error.h"

namespace kms {

namespace json = google::protobuf::util;

namespace {

std::string print(const google::protobuf::Message& message, const json::JsonPrintOptions& options) {
  std::string text;
  if (const auto status = json::MessageToJsonString(message, &text, options); !status.ok()) {
    throw Error("cannot write " + message.GetTypeName() + " as JSON: " + status.ToString());
  }
  return text;
}

}  // namespace

std::string to_json(const google::protobuf::Message& message, JsonLook look) {
  json::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.add_whitespace = look == JsonLook::document;
  std::string text = print(message, options);
  if (look == JsonLook::document && !text.ends_with('\n')) text += '\n';
  return text;
}

std::string to_short_json(const google::protobuf::Message& message) { return print(message, {}); }

std::optional<std::string> from_json(const std::string& text, google::protobuf::Message& message) {
  const auto status = json::JsonStringToMessage(text, &message);
  if (status.ok()) return std::nullopt;
  // The lines after the first one show the place in the text, which may be a secret.
  const std::string_view cause(status.message().data(), status.message().size());
  return std::string(cause.substr(0, cause.find('\n')));
}

}  // namespace kms
