#include "builder/trust/signed_object.h"

#include <charconv>

namespace kms::builder {
namespace {

/// The first line of `text`, with its end, taken off.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::size_t size = end == std::string_view::npos ? text.size() : end + 1;
  const std::string_view line = text.substr(0, size);
  text.remove_prefix(size);
  return line;
}

/// Of "committer Name <address> 1700000000 +0100".
std::int64_t time_of(std::string_view person) {
  const std::size_t end = person.rfind("> ");
  std::int64_t time = 0;
  if (end != std::string_view::npos) {
    std::from_chars(person.data() + end + 2, person.data() + person.size(), time);
  }
  return time;
}

}  // namespace

SignedObject split_commit(std::string_view raw) {
  SignedObject object;
  bool in_signature = false;  // of any kind: those of the other hash function are not signed either
  bool ours = false;
  while (!raw.empty() && !raw.starts_with('\n')) {
    std::string_view line = take_line(raw);
    if (line.starts_with("gpgsig ") || line.starts_with("gpgsig-sha256 ")) {
      in_signature = true;
      ours = line.starts_with("gpgsig ");
    } else if (!line.starts_with(' ')) {
      in_signature = false;
    }
    if (line.starts_with("committer ")) object.time = time_of(line);
    if (!in_signature) {
      object.payload += line;
    } else if (ours) {
      object.signature += line.substr(line.find(' ') + 1);
    }
  }
  object.payload += raw;
  return object;
}

SignedObject split_tag(std::string_view raw) {
  SignedObject object;
  std::string_view rest = raw;
  std::size_t signature = raw.size();
  bool in_header = true;
  while (!rest.empty()) {
    const std::size_t at = raw.size() - rest.size();
    const std::string_view line = take_line(rest);
    if (line == "\n") in_header = false;
    if (in_header && line.starts_with("tagger ")) object.time = time_of(line);
    // The last beginning counts, as in git: what stands before it was signed, another beginning included.
    if (!in_header && line.starts_with("-----BEGIN ") &&
        (line.find(" SIGNATURE-----") != std::string_view::npos ||
         line.find(" MESSAGE-----") != std::string_view::npos)) {
      signature = at;
    }
  }
  object.payload = raw.substr(0, signature);
  object.signature = raw.substr(signature);
  return object;
}

}  // namespace kms::builder
