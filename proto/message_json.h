// Protobuf messages as JSON, by protobuf's own mapping. Functions without state, safe from any thread.
#pragma once

#include <optional>
#include <string>

namespace google::protobuf {
class Message;
}

namespace kms {

/// How a message is written.
enum class JsonLook {
  line,      ///< all on one line, without a line end
  document,  ///< indented, with a line end at its end
};

/// Fields that are not set are shown with their defaults. Throws Error where the message has no JSON form.
[[nodiscard]] std::string to_json(const google::protobuf::Message& message, JsonLook look);

/// On one line, without the fields that are not set.
[[nodiscard]] std::string to_short_json(const google::protobuf::Message& message);

/// Fills `message`; else why the text is not one, on one line. An unknown field is refused.
[[nodiscard]] std::optional<std::string> from_json(const std::string& text,
                                                   google::protobuf::Message& message);

}  // namespace kms
