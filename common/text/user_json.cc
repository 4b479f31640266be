#include "common/text/user_json.h"

#include <absl/strings/escaping.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <vector>

#include "common/text/nearest.h"
#include "common/text/protobuf.h"
#include "common/text/time.h"

namespace kms {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::Value;

/// A value of the file and its place, such as "faults[0].latency".
struct Place {
  const Value& json;
  std::string path;

  [[nodiscard]] Error wrong(const std::string& cause) const {
    return Error(path.empty() ? cause : path + ": " + cause, "", ErrorCode::invalid_input);
  }
  [[nodiscard]] Place field(const std::string& name, const Value& value) const {
    return {value, path.empty() ? name : path + "." + name};
  }
  [[nodiscard]] Place element(int index) const {
    return {json.list_value().values(index), path + "[" + std::to_string(index) + "]"};
  }
};

Outcome<> read_message(const Place& place, Message& message);

Outcome<int> read_enum(const Place& place, const EnumDescriptor& type) {
  if (!place.json.has_string_value()) return place.wrong("it is not a name in quotes");
  const std::string name = enum_name(place.json.string_value());
  if (const auto* value = type.FindValueByName(name)) return value->number();
  return place.wrong("unknown name '" + place.json.string_value() + "'" +
                     did_you_mean_value(place.json.string_value(), type));
}

Outcome<> read_duration(const Place& place, Message& message) {
  if (!place.json.has_string_value())
    return place.wrong("it is not a duration; write a text such as \"1m30s\"");
  const auto duration = parse_duration(place.json.string_value());
  if (!duration) return place.wrong(duration.error().line());
  message.CopyFrom(to_proto(*duration));
  return {};
}

Outcome<std::uint32_t> read_count(const Place& place) {
  constexpr double max = std::numeric_limits<std::uint32_t>::max();
  const double number = place.json.has_number_value() ? place.json.number_value() : -1;
  if (number >= 0 && number <= max && number == std::floor(number)) return static_cast<std::uint32_t>(number);
  return place.wrong("it is not a whole number from 0 to 4294967295");
}

Outcome<> read_value(const Place& place, Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  const auto store = [&](auto value, auto set, auto add) -> Outcome<> {
    if (field.is_repeated()) {
      (reflection.*add)(&message, &field, value);
    } else {
      (reflection.*set)(&message, &field, value);
    }
    return {};
  };
  const Value& json = place.json;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return read_message(place, field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                                     : *reflection.MutableMessage(&message, &field));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto number = read_enum(place, *field.enum_type());
      if (!number) return number.error();
      return store(*number, &Reflection::SetEnumValue, &Reflection::AddEnumValue);
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      const auto number = read_count(place);
      if (!number) return number.error();
      return store(*number, &Reflection::SetUInt32, &Reflection::AddUInt32);
    }
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (!json.has_number_value()) return place.wrong("it is not a number");
      return store(json.number_value(), &Reflection::SetDouble, &Reflection::AddDouble);
    case FieldDescriptor::CPPTYPE_BOOL:
      if (!json.has_bool_value()) return place.wrong("it is neither true nor false");
      return store(json.bool_value(), &Reflection::SetBool, &Reflection::AddBool);
    case FieldDescriptor::CPPTYPE_STRING: {
      if (!json.has_string_value()) return place.wrong("it is not a text in quotes");
      if (field.type() != FieldDescriptor::TYPE_BYTES)
        return store(json.string_value(), &Reflection::SetString, &Reflection::AddString);
      std::string bytes;
      if (!absl::Base64Unescape(json.string_value(), &bytes)) return place.wrong("it is not base64");
      return store(bytes, &Reflection::SetString, &Reflection::AddString);
    }
    default:
      return place.wrong("it cannot be set by JSON");
  }
}

/// The keys of `field` are texts.
Outcome<> read_map(const Place& place, Message& message, const FieldDescriptor& field) {
  if (!place.json.has_struct_value()) return place.wrong("it is not an object in { }");
  const Descriptor& type = *field.message_type();
  for (const auto& [name, value] : place.json.struct_value().fields()) {
    Message& entry = *message.GetReflection()->AddMessage(&message, &field);
    entry.GetReflection()->SetString(&entry, type.map_key(), name);
    if (const auto read = read_value(place.field(name, value), entry, *type.map_value()); !read) return read;
  }
  return {};
}

Outcome<> read_field(const Place& place, Message& message, const FieldDescriptor& field) {
  if (const auto* oneof = field.real_containing_oneof(); oneof != nullptr) {
    const auto* set = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
    if (set != nullptr) return place.wrong("it cannot be set beside '" + set->json_name() + "'");
  }
  if (field.is_map()) return read_map(place, message, field);
  if (!field.is_repeated()) return read_value(place, message, field);
  if (!place.json.has_list_value()) return place.wrong("it is not a list in [ ]");
  for (int i = 0; i < place.json.list_value().values_size(); ++i) {
    if (const auto read = read_value(place.element(i), message, field); !read) return read;
  }
  return {};
}

const FieldDescriptor* find_field(const Descriptor& type, const std::string& name) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->json_name() == name) return type.field(i);
  }
  return nullptr;
}

/// A name of the .proto file is not JSON's, though protobuf's own parser takes both: 'lasting' is 'for'.
Error unknown_field(const Place& place, const Descriptor& type, const std::string& name) {
  if (const auto* field = type.FindFieldByName(name))
    return place.wrong("unknown field '" + name + "'; did you mean '" + field->json_name() + "'?");
  std::vector<std::string> known;
  for (int i = 0; i < type.field_count(); ++i) known.push_back(type.field(i)->json_name());
  if (nearest(name, known).empty()) {
    for (int i = 0; i < type.field_count(); ++i) {
      const Descriptor* inner = type.field(i)->message_type();
      if (inner != nullptr && find_field(*inner, name) != nullptr)
        return place.wrong("unknown field '" + name + "'; it belongs into '" + type.field(i)->json_name() +
                           "'");
    }
  }
  return place.wrong("unknown field '" + name + "'" + did_you_mean(name, known));
}

Outcome<> read_message(const Place& place, Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  if (type.full_name() == "google.protobuf.Duration") return read_duration(place, message);
  if (!place.json.has_struct_value()) return place.wrong("it is not an object in { }");
  std::vector<std::string>
      names;  // the fields of a Struct have no order; the first error shall always be the same
  for (const auto& [name, value] : place.json.struct_value().fields()) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const FieldDescriptor* field = find_field(type, name);
    if (field == nullptr) return unknown_field(place, type, name);
    const Value& value = place.json.struct_value().fields().at(name);
    if (value.has_null_value()) continue;
    if (const auto read = read_field(place.field(name, value), message, *field); !read) return read;
  }
  return {};
}

/// The place of a bracket that follows a comma, which protobuf accepts and JSON does not; npos: there is
/// none.
std::size_t superfluous_comma(std::string_view text) {
  bool quoted = false;
  bool comma = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (comma && (c == ']' || c == '}')) {
      return i;
    } else if (std::isspace(static_cast<unsigned char>(c)) == 0) {
      comma = c == ',';
      quoted = c == '"';
    }
  }
  return text.npos;
}

}  // namespace

Outcome<> from_user_json(const std::string& text, Message& message) {
  if (const std::size_t at = superfluous_comma(text); at != text.npos)
    return Error("it is not JSON: a comma before " + text.substr(at, 1) + " in line " +
                     std::to_string(
                         1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n')),
                 "", ErrorCode::invalid_input);
  Value json;
  if (const auto read = from_json(text, json); !read) return read.error().within("it is not JSON");
  message.Clear();
  return read_message({json, ""}, message);
}

}  // namespace kms
