#include "common/text/protobuf.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "common/text/escape.h"

namespace kms {
namespace {

namespace json = google::protobuf::util;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string print(const Message& message, JsonLayout layout, bool unset_fields) {
  json::JsonPrintOptions options;
  options.always_print_primitive_fields = unset_fields;
  options.add_whitespace = layout == JsonLayout::document;
  std::string text;
  if (const auto status = json::MessageToJsonString(message, &text, options); !status.ok()) {
    throw Error("cannot write " + message.GetTypeName() + " as JSON: " + status.ToString());
  }
  if (layout == JsonLayout::document && !text.ends_with('\n')) text += '\n';
  return text;
}

void clean_string(Message& message, const Reflection& fields, const FieldDescriptor* field) {
  if (!field->is_repeated()) {
    fields.SetString(&message, field, utf8_text(fields.GetString(message, field)));
    return;
  }
  for (int i = 0; i < fields.FieldSize(message, field); ++i) {
    fields.SetRepeatedString(&message, field, i, utf8_text(fields.GetRepeatedString(message, field, i)));
  }
}

void clean_message(Message& message, const Reflection& fields, const FieldDescriptor* field) {
  if (!field->is_repeated()) {
    make_fields_utf8(*fields.MutableMessage(&message, field));
    return;
  }
  for (int i = 0; i < fields.FieldSize(message, field); ++i) {
    make_fields_utf8(*fields.MutableRepeatedMessage(&message, field, i));
  }
}

}  // namespace

std::string to_json(const Message& message, JsonLayout layout) { return print(message, layout, true); }

std::string to_short_json(const Message& message, JsonLayout layout) { return print(message, layout, false); }

Outcome<> from_json(const std::string& text, Message& message) {
  const auto status = json::JsonStringToMessage(text, &message);
  if (status.ok()) return {};
  // The lines after the first show the place in the text, which may be a secret.
  const std::string_view cause(status.message().data(), status.message().size());
  return Error(std::string(cause.substr(0, cause.find('\n'))), "", ErrorCode::invalid_input);
}

std::string enum_name(std::string word) {
  for (char& c : word) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

void make_fields_utf8(Message& message) {
  const Reflection& fields = *message.GetReflection();
  std::vector<const FieldDescriptor*> present;
  fields.ListFields(message, &present);
  for (const FieldDescriptor* field : present) {
    if (field->type() == FieldDescriptor::TYPE_STRING) clean_string(message, fields, field);
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) clean_message(message, fields, field);
  }
}

google::protobuf::Timestamp to_timestamp(std::chrono::system_clock::time_point time) {
  return json::TimeUtil::MillisecondsToTimestamp(
      std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

std::chrono::system_clock::time_point from_proto(const google::protobuf::Timestamp& time) {
  using Clock = std::chrono::system_clock;
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(
      std::chrono::nanoseconds(json::TimeUtil::TimestampToNanoseconds(time))));
}

google::protobuf::Duration to_proto(Duration duration) {
  return json::TimeUtil::NanosecondsToDuration(duration.count());
}

Duration from_proto(const google::protobuf::Duration& duration) {
  constexpr std::int64_t max = std::chrono::duration_cast<std::chrono::seconds>(max_duration).count();
  return std::chrono::seconds(std::clamp(duration.seconds(), -max, max)) +
         std::chrono::nanoseconds(duration.nanos());
}

}  // namespace kms
