// Reads JSON that people write by hand into a protobuf message.
//
// It reads what protobuf's own mapping does for the types that such files need, and more: durations in Go's
// syntax ("1m30s"), and names of enums in any case, with '-' or '_'. Unlike protobuf's, it reads fields by
// their documented names only, not by those of the .proto file, and refuses a comma before a closing bracket.
// Errors name the place in the file's own words: "faults[0]: unknown field 'method'; did you mean
// 'methods'?".
#pragma once

#include <string>

#include "common/error.h"

namespace google::protobuf {
class Message;
}

namespace kms {

/// Fills `message`, whose fields are messages, durations, enums, texts, bytes (base64), booleans, doubles,
/// uint32, and maps by text.
Outcome<> from_user_json(const std::string& text, google::protobuf::Message& message);

}  // namespace kms
