// Writes HTML: escaped text, times and tables.
//
// Pure functions.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace kms::supervisor::report {

/// Text of unknown origin for an element or a quoted attribute. Control characters and those that change the
/// direction of writing are shown as their code. At most `max` bytes; "…" shows a cut.
[[nodiscard]] std::string escape(std::string_view text, std::size_t max = 2000);

/// Appends the parts. They are HTML already.
void add(std::string& html, std::initializer_list<std::string_view> parts);

/// Shows times in UTC, without the date if the whole report is of one day.
class Times {
 public:
  Times(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to);

  [[nodiscard]] std::string text(const google::protobuf::Timestamp& at) const;
  /// A time element: the script adds the local time.
  [[nodiscard]] std::string element(const google::protobuf::Timestamp& at) const;
  /// "2026-11-30" or "2026-11-30 to 2026-12-01".
  [[nodiscard]] std::string days() const;

 private:
  std::string first_day_, last_day_;
};

[[nodiscard]] std::string milliseconds(const google::protobuf::Timestamp& at);

/// A table in a region that scrolls. Cells are HTML; the first cell of a row is its header if it begins with
/// "<th". `attributes` belong to the table element.
class Table {
 public:
  Table(std::string caption, std::vector<std::string> headers, std::string attributes = "")
      : caption_(std::move(caption)), headers_(std::move(headers)), attributes_(std::move(attributes)) {}

  void row(const std::vector<std::string>& cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  [[nodiscard]] std::string html() const;

 private:
  std::string caption_;
  std::vector<std::string> headers_;
  std::string attributes_;
  std::string rows_;
};

}  // namespace kms::supervisor::report
