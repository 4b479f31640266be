#include "common/text/protobuf.h"

#include <absl/strings/escaping.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "common/text/escape.h"
#include "common/text/nearest.h"

namespace kms {
namespace {

namespace json = google::protobuf::util;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

/// Prints messages by protobuf's JSON mapping, except that 64-bit integers are numbers too: protobuf prints
/// those as strings, so one kind of number would have two types.
class JsonPrinter {
 public:
  JsonPrinter(JsonLayout layout, bool unset_fields, bool go_durations)
      : indented_(layout == JsonLayout::document), unset_fields_(unset_fields), go_durations_(go_durations) {}

  void add(const Message& message) {
    const std::string& type = message.GetDescriptor()->full_name();
    if (const auto* duration = dynamic_cast<const google::protobuf::Duration*>(&message);
        duration != nullptr && go_durations_) {
      text_ += json_string(go_duration(from_proto(*duration)));
      return;
    }
    if (type == "google.protobuf.Duration" || type == "google.protobuf.Timestamp") return add_leaf(message);
    open('{');
    const Reflection& fields = *message.GetReflection();
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = message.GetDescriptor()->field(i);
      if (!shows(message, fields, field)) continue;
      key(field->json_name());
      if (field->is_map()) {
        add_map(message, fields, field);
      } else if (field->is_repeated()) {
        add_list(message, fields, field);
      } else {
        add_value(message, fields, field, -1);
      }
    }
    close('}');
  }

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  [[nodiscard]] bool shows(const Message& message, const Reflection& fields,
                           const FieldDescriptor* field) const {
    if (field->is_repeated()) return unset_fields_ || fields.FieldSize(message, field) > 0;
    return fields.HasField(message, field) || (unset_fields_ && !field->has_presence());
  }

  /// A time, which protobuf prints: "2026-11-30T10:00:00.250Z", "0.250s".
  void add_leaf(const Message& message) {
    std::string text;
    if (const auto status = json::MessageToJsonString(message, &text); !status.ok())
      throw Error("cannot write " + message.GetTypeName() + " as JSON: " + status.ToString());
    text_ += text;
  }

  void add_list(const Message& message, const Reflection& fields, const FieldDescriptor* field) {
    open('[');
    for (int i = 0; i < fields.FieldSize(message, field); ++i) {
      next();
      add_value(message, fields, field, i);
    }
    close(']');
  }

  /// In the order of the keys: equal messages print equally.
  void add_map(const Message& message, const Reflection& fields, const FieldDescriptor* field) {
    std::map<std::string, const Message*> entries;
    const FieldDescriptor* const key_field = field->message_type()->map_key();
    for (int i = 0; i < fields.FieldSize(message, field); ++i) {
      const Message& entry = fields.GetRepeatedMessage(message, field, i);
      entries[entry.GetReflection()->GetString(entry, key_field)] = &entry;
    }
    open('{');
    for (const auto& [name, entry] : entries) {
      key(name);
      add_value(*entry, *entry->GetReflection(), field->message_type()->map_value(), -1);
    }
    close('}');
  }

  /// The value of a field; of a repeated one the element `index`.
  void add_value(const Message& message, const Reflection& fields, const FieldDescriptor* field, int index) {
    const auto get = [&](auto one, auto element) {
      return index < 0 ? (fields.*one)(message, field) : (fields.*element)(message, field, index);
    };
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return add(index < 0 ? fields.GetMessage(message, field)
                             : fields.GetRepeatedMessage(message, field, index));
      case FieldDescriptor::CPPTYPE_ENUM:
        return add_enum(*field->enum_type(),
                        get(&Reflection::GetEnumValue, &Reflection::GetRepeatedEnumValue));
      case FieldDescriptor::CPPTYPE_STRING: {
        const std::string value = get(&Reflection::GetString, &Reflection::GetRepeatedString);
        text_ +=
            json_string(field->type() == FieldDescriptor::TYPE_BYTES ? absl::Base64Escape(value) : value);
        return;
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        text_ += get(&Reflection::GetBool, &Reflection::GetRepeatedBool) ? "true" : "false";
        return;
      case FieldDescriptor::CPPTYPE_INT32:
        return add_number(get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32));
      case FieldDescriptor::CPPTYPE_UINT32:
        return add_number(get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32));
      case FieldDescriptor::CPPTYPE_INT64:
        return add_number(get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64));
      case FieldDescriptor::CPPTYPE_UINT64:
        return add_number(get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return add_number(get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return add_number(get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
    }
  }

  void add_enum(const google::protobuf::EnumDescriptor& type, int number) {
    const auto* value = type.FindValueByNumber(number);
    text_ += value == nullptr ? std::to_string(number) : json_string(value->name());
  }

  void add_number(auto value) {
    std::array<char, 32> digits{};
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    text_.append(digits.data(), end);
  }

  void open(char bracket) {
    text_ += bracket;
    is_empty_.push_back(true);
  }
  void close(char bracket) {
    const bool was_empty = is_empty_.back();
    is_empty_.pop_back();
    if (!was_empty) break_line();
    text_ += bracket;
  }
  void next() {
    if (!is_empty_.back()) text_ += ',';
    is_empty_.back() = false;
    break_line();
  }
  void key(const std::string& name) {
    next();
    text_ += json_string(name) + (indented_ ? ": " : ":");
  }
  void break_line() {
    if (indented_) text_ += "\n" + std::string(is_empty_.size(), ' ');
  }

  bool indented_;
  bool unset_fields_;
  bool go_durations_;
  std::string text_;
  std::vector<bool> is_empty_;  ///< for each open bracket
};

std::string print(const Message& message, JsonLayout layout, bool unset_fields, bool go_durations = false) {
  JsonPrinter printer(layout, unset_fields, go_durations);
  printer.add(message);
  return printer.take() + (layout == JsonLayout::document ? "\n" : "");
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

/// "line 3, column 14: " of an error in `text`. Protobuf quotes the bytes around it and puts a ^ below. The
/// quoted bytes may be a secret.
std::string place_of(std::string_view quoted, std::string_view text) {
  const std::size_t last_line = quoted.rfind('\n');
  const std::size_t mark = quoted.rfind('^');
  if (last_line == std::string_view::npos || mark == std::string_view::npos) return "";
  const std::string_view around = quoted.substr(0, last_line);
  const std::size_t begin = around.empty() ? text.size() : text.find(around);
  if (begin == std::string_view::npos) return "";
  const std::string_view before = text.substr(0, begin + mark - (last_line + 1));
  return "line " + std::to_string(1 + std::count(before.begin(), before.end(), '\n')) + ", column " +
         std::to_string(before.size() - (before.rfind('\n') + 1) + 1) + ": ";
}

/// The key of protobuf's "...: Repeated map key: 'NAME' is already set."
std::optional<std::string> repeated_key(std::string_view message_text) {
  constexpr std::string_view before = "Repeated map key: '";
  constexpr std::string_view after = "' is already set.";
  const std::size_t begin = message_text.find(before);
  if (begin == std::string_view::npos || !message_text.ends_with(after)) return std::nullopt;
  message_text.remove_suffix(after.size());
  return std::string(message_text.substr(begin + before.size()));
}

}  // namespace

std::string to_json(const Message& message, JsonLayout layout) { return print(message, layout, true); }

std::string to_short_json(const Message& message, JsonLayout layout) { return print(message, layout, false); }

std::string to_user_json(const Message& message) { return print(message, JsonLayout::line, false, true); }

Outcome<> from_json(const std::string& text, Message& message) {
  const auto status = json::JsonStringToMessage(text, &message);
  if (status.ok()) return {};
  const std::string_view message_text(status.message().data(), status.message().size());
  if (const auto key = repeated_key(message_text))
    return Error("'" + *key + "' occurs twice", "", ErrorCode::invalid_input);
  const std::size_t end = std::min(message_text.find('\n'), message_text.size());
  const std::string place = place_of(message_text.substr(std::min(end + 1, message_text.size())), text);
  return Error(place + std::string(message_text.substr(0, end)), "", ErrorCode::invalid_input);
}

std::string enum_name(std::string word) {
  for (char& c : word) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

std::string enum_word(std::string name) {
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::string did_you_mean_value(const std::string& word, const google::protobuf::EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (!type.value(i)->name().ends_with("_UNSPECIFIED")) names.push_back(type.value(i)->name());
  }
  const bool is_upper_case =
      std::any_of(word.begin(), word.end(), [](unsigned char c) { return std::isupper(c) != 0; });
  const std::string near = nearest(enum_name(word), names);
  return near.empty() ? "" : "; did you mean '" + (is_upper_case ? near : enum_word(near)) + "'?";
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
