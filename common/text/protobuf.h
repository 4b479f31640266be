// Converts protobuf messages to and from JSON, and protobuf's times to and from chrono's.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <string>

#include "common/text/time.h"

namespace google::protobuf {
class EnumDescriptor;
class Message;
}  // namespace google::protobuf

namespace kms {

enum class JsonLayout {
  line,      ///< one line, without a line end
  document,  ///< indented, with a line end at its end
};

/// Shows unset fields with their defaults. All integers are numbers, 64-bit ones too.
[[nodiscard]] std::string to_json(const google::protobuf::Message& message, JsonLayout layout);

/// The same without the unset fields.
[[nodiscard]] std::string to_short_json(const google::protobuf::Message& message,
                                        JsonLayout layout = JsonLayout::line);

/// The same on one line with durations as options take them, "1m30s" for "90s". from_user_json() reads it.
[[nodiscard]] std::string to_user_json(const google::protobuf::Message& message);

/// Fills `message`. Refuses unknown fields. The Error's cause is one line.
Outcome<> from_json(const std::string& text, google::protobuf::Message& message);

/// The name of an enum's value for a word that people write: "KEY_ID_EMPTY" for "key-id-empty".
[[nodiscard]] std::string enum_name(std::string word);

/// "key-id-empty" for "KEY_ID_EMPTY".
[[nodiscard]] std::string enum_word(std::string name);

/// "; did you mean 'nearest'?" for a word that names no value of the enum; "" if none is near. The name is
/// written as the word is: "key-id-empty" for "key-id-emty", "KEY_ID_EMPTY" for "KEY_ID_EMTY".
[[nodiscard]] std::string did_you_mean_value(const std::string& word,
                                             const google::protobuf::EnumDescriptor& type);

/// Replaces bytes that are not UTF-8 in every string field, at any depth. Protobuf does not send such a
/// field, and file names and a plugin's output may hold any byte.
void make_fields_utf8(google::protobuf::Message& message);

/// Milliseconds: as precise as people compare logs.
[[nodiscard]] google::protobuf::Timestamp to_timestamp(std::chrono::system_clock::time_point time);
[[nodiscard]] std::chrono::system_clock::time_point from_proto(const google::protobuf::Timestamp& time);

[[nodiscard]] google::protobuf::Duration to_proto(Duration duration);

/// Durations from protobuf are cut at a hundred years. Sums with each other and with a clock's times, which
/// count nanoseconds in 64 bits, then do not overflow. Protobuf's own reach 10,000 years.
inline constexpr Duration max_duration = std::chrono::hours(24 * 365 * 100);
[[nodiscard]] Duration from_proto(const google::protobuf::Duration& duration);

}  // namespace kms
