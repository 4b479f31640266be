#include "supervisor/report/html.h"

#include <array>
#include <cstdio>

#include "common/text/escape.h"
#include "common/text/protobuf.h"

namespace kms::supervisor::report {
namespace {

/// C1 controls, and characters that change the direction of writing: they make a text look like another one.
bool is_deceptive(std::string_view character) {
  if (character.size() == 2) return character[0] == '\xC2' && static_cast<unsigned char>(character[1]) < 0xA0;
  if (character.size() != 3) return false;
  const auto second = static_cast<unsigned char>(character[1]);
  const auto third = static_cast<unsigned char>(character[2]);
  return character[0] == '\xE2' &&
         ((second == 0x80 && (third == 0x8E || third == 0x8F || (third >= 0xA8 && third <= 0xAE))) ||
          (second == 0x81 && third >= 0xA6 && third <= 0xA9));
}

std::string code_of(std::string_view character) {
  std::string code;
  for (const char byte : character) {
    std::array<char, 5> text{};
    std::snprintf(text.data(), text.size(), "\\x%02x", static_cast<unsigned char>(byte));
    code += text.data();
  }
  return code;
}

std::size_t length_at(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

}  // namespace

std::string escape(std::string_view raw, std::size_t max) {
  const bool cut = raw.size() > max;
  const std::string clean = utf8_text(raw.substr(0, max));
  std::string html;
  html.reserve(clean.size() + 16);
  for (std::string_view text = clean; !text.empty();) {
    const std::string_view character = text.substr(0, length_at(text));
    text.remove_prefix(character.size());
    switch (character[0]) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        const auto lead = static_cast<unsigned char>(character[0]);
        if (lead < ' ' || lead == 0x7F || is_deceptive(character))
          html += code_of(character);
        else
          html += character;
    }
  }
  return cut ? html + "…" : html;
}

void add(std::string& html, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) html += part;
}

Times::Times(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to)
    : first_day_(rfc3339(from_proto(from)).substr(0, 10)), last_day_(rfc3339(from_proto(to)).substr(0, 10)) {}

std::string Times::text(const google::protobuf::Timestamp& at) const {
  const std::string full = rfc3339(from_proto(at));
  const std::string time = full.substr(11, 12);
  return first_day_ == last_day_ && full.substr(0, 10) == first_day_ ? time : full.substr(0, 10) + " " + time;
}

std::string Times::element(const google::protobuf::Timestamp& at) const {
  return "<time datetime=\"" + rfc3339(from_proto(at)) + "\">" + text(at) + "</time>";
}

std::string Times::days() const {
  return first_day_ == last_day_ ? first_day_ : first_day_ + " to " + last_day_;
}

std::string milliseconds(const google::protobuf::Timestamp& at) {
  return std::to_string(
      std::chrono::duration_cast<std::chrono::milliseconds>(from_proto(at).time_since_epoch()).count());
}

void Table::row(const std::vector<std::string>& cells) {
  rows_ += "<tr>";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    // On a narrow screen each cell is a line, and its label stands before it.
    if (cells[i].starts_with("<th") || cells[i].starts_with("<td"))
      rows_ += cells[i];
    else if (attributes_.find("stack") == std::string::npos)
      add(rows_, {"<td>", cells[i]});
    else
      add(rows_, {"<td data-label=\"", headers_[i], "\">", cells[i], "</td>"});
  }
  rows_ += "</tr>\n";
}

std::string Table::html() const {
  std::string html = "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" + caption_ +
                     "\"><table" + (attributes_.empty() ? "" : " " + attributes_) + "><caption>" + caption_ +
                     "</caption><thead><tr>";
  for (const std::string& header : headers_) add(html, {"<th scope=\"col\">", header, "</th>"});
  return html + "</tr></thead><tbody>\n" + rows_ + "</tbody></table></div>\n";
}

}  // namespace kms::supervisor::report
