// Writes structured log lines to stderr, as text for people or JSON for machines, with RFC 3339 times.
//
// Safe from any thread after log::configure(), which CommandLine calls (without it: text, level info). A line
// is written whole. The functions do not throw. Do not pass secrets.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/escape.h"

namespace kms::log {

enum class Level { debug, info, warning, error };
enum class Format { text, json };

/// One named value of a line: `pid=12` in text, `"pid":12` in JSON.
class Field {
 public:
  Field(std::string_view key, std::string_view value)
      : key_(key), text_(value), json_(json_string(value)), plain_(false) {}
  Field(std::string_view key, const char* value) : Field(key, std::string_view(value)) {}
  Field(std::string_view key, bool value)
      : key_(key), text_(value ? "true" : "false"), json_(text_), plain_(true) {}
  Field(std::string_view key, std::integral auto value)
      : key_(key), text_(std::to_string(value)), json_(text_), plain_(true) {}

  [[nodiscard]] const std::string& key() const { return key_; }
  [[nodiscard]] const std::string& value() const { return text_; }

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string json() const;

 private:
  std::string key_;
  std::string text_;
  std::string json_;
  bool plain_;  ///< never quoted in text
};

using Fields = std::vector<Field>;

/// `program` names the writer in each line. Lines below `min` are dropped.
void configure(std::string_view program, Level min, Format format);

/// Passes each line, without its line end, to `writer` instead of stderr; an empty writer undoes that. Do not
/// call it while other threads log.
void redirect(std::function<void(std::string)> writer);

/// Also writes each line, debug lines included, to `file`. Throws Error if it cannot be opened. Do not call
/// it while other threads log.
void copy_to(const std::string& file);

/// Writes a line as it is to that file, if there is one.
void copy_line(std::string_view line);

void write(Level level, std::string_view message, const Fields& fields);

inline void debug(std::string_view message, const Fields& fields = {}) {
  write(Level::debug, message, fields);
}
inline void info(std::string_view message, const Fields& fields = {}) { write(Level::info, message, fields); }
inline void warning(std::string_view message, const Fields& fields = {}) {
  write(Level::warning, message, fields);
}
inline void error(std::string_view message, const Fields& fields = {}) {
  write(Level::error, message, fields);
}

}  // namespace kms::log
