// Protobuf refuses to send a string field that is not UTF-8, and file names and a plugin's output may be
// anything.
#pragma once

#include <google/protobuf/message.h>

namespace kms::supervisor {

/// Replaces what is not UTF-8 in every string field of `message`, at any depth. Pure, any thread.
void make_fields_utf8(google::protobuf::Message& message);

}  // namespace kms::supervisor
