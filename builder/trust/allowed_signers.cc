#include "builder/trust/allowed_signers.h"

#include <algorithm>
#include <ctime>

#include "builder/trust/ssh.h"
#include "common/text/glob.h"

namespace kms::builder {
namespace {

constexpr std::size_t max_line = 16384;
constexpr std::string_view blanks = " \t\r";

void skip_blanks(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
}

/// Takes the text before the first of `ends`; those between quotes do not count. Empty if a quote is not
/// closed.
std::optional<std::string_view> take_until(std::string_view& text, std::string_view ends) {
  bool quoted = false;
  std::size_t size = 0;
  for (; size < text.size() && (quoted || ends.find(text[size]) == std::string_view::npos); ++size) {
    if (text[size] == '"') quoted = !quoted;
  }
  if (quoted) return std::nullopt;
  const std::string_view taken = text.substr(0, size);
  text.remove_prefix(size);
  return taken;
}

std::optional<std::string_view> take_word(std::string_view& text) {
  skip_blanks(text);
  return take_until(text, blanks);
}

std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"'))
    return text.substr(1, text.size() - 2);
  return text;
}

bool is_key_type(std::string_view word) {
  return word.find_first_of("=\",") == std::string_view::npos &&
         (word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-") ||
          word.starts_with("rsa-"));
}

std::string day(std::int64_t time) {
  const std::time_t value = time;
  std::tm parts{};
  ::gmtime_r(&value, &parts);
  std::string text(32, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%SZ", &parts));
  return text;
}

}  // namespace

bool matches_patterns(std::string_view text, std::string_view patterns) {
  bool found = false;
  while (!patterns.empty()) {
    const std::size_t size = std::min(patterns.find(','), patterns.size());
    const std::string_view pattern = patterns.substr(0, size);
    patterns.remove_prefix(std::min(size + 1, patterns.size()));
    if (pattern.starts_with('!')) {
      if (glob_match(pattern.substr(1), text)) return false;
    } else if (glob_match(pattern, text)) {
      found = true;
    }
  }
  return found;
}

std::optional<std::int64_t> signing_time(std::string_view text) {
  const bool utc = text.ends_with('Z');
  if (utc) text.remove_suffix(1);
  const bool digits = text.find_first_not_of("0123456789") == std::string_view::npos;
  if (!digits || (text.size() != 8 && text.size() != 12 && text.size() != 14)) return std::nullopt;
  const auto part = [&](std::size_t at, std::size_t size) {
    return at < text.size() ? std::stoi(std::string(text.substr(at, size))) : 0;
  };
  std::tm time{};
  time.tm_year = part(0, 4) - 1900;
  time.tm_mon = part(4, 2) - 1;
  time.tm_mday = part(6, 2);
  time.tm_hour = part(8, 2);
  time.tm_min = part(10, 2);
  time.tm_sec = part(12, 2);
  time.tm_isdst = -1;
  const std::tm asked = time;
  const std::time_t seconds = utc ? ::timegm(&time) : ::mktime(&time);
  const bool exists = time.tm_mon == asked.tm_mon && time.tm_mday == asked.tm_mday && asked.tm_hour < 24 &&
                      asked.tm_min < 60 && asked.tm_sec < 61;
  return exists ? std::optional<std::int64_t>(seconds) : std::nullopt;
}

Outcome<> AllowedSigners::read_option(std::string_view option, Entry& entry) {
  const std::size_t equals = std::min(option.find('='), option.size());
  std::string name(option.substr(0, equals));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string_view value = unquoted(option.substr(std::min(equals + 1, option.size())));
  if (name == "cert-authority" && equals == option.size()) {
    entry.authority = true;
  } else if (name == "namespaces" && !value.empty()) {
    entry.namespaces = value;
  } else if (name == "valid-after" || name == "valid-before") {
    auto& time = name == "valid-after" ? entry.valid_after : entry.valid_before;
    time = signing_time(value);
    if (!time) return Error("'" + std::string(value) + "' is not a time such as 20240131 or 202401311200Z");
  } else {
    return Error("the option '" + std::string(option) + "' is not known");
  }
  return {};
}

Outcome<AllowedSigners::Entry> AllowedSigners::read(std::string_view line, unsigned number) {
  Entry entry;
  entry.line = number;
  if (line.size() > max_line) return Error("it is too long");
  const auto principals = take_word(line);
  auto word = take_word(line);
  if (!principals || !word) return Error("a quote is not closed");
  entry.principals = unquoted(*principals);
  if (!is_key_type(*word)) {
    for (std::string_view options = *word; !options.empty();) {
      const auto option = take_until(options, ",");  // `word` has no open quote
      if (const auto known = read_option(*option, entry); !known) return known.error();
      options.remove_prefix(std::min<std::size_t>(1, options.size()));
    }
    word = take_word(line);
  }
  const auto base64 = take_word(line);
  if (!word || !base64 || word->empty() || base64->empty())
    return Error("it is not 'principals [options] type key'");
  const auto key = decode_base64(*base64);
  if (!key || ssh_key_type(*key) != *word) return Error("its key is not one of the type that it names");
  entry.key = *key;
  return entry;
}

Outcome<AllowedSigners> AllowedSigners::parse(std::string_view text, const std::string& file) {
  AllowedSigners signers;
  signers.file_ = file;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::size_t size = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    skip_blanks(line);
    if (line.empty() || line.starts_with('#')) continue;
    Outcome<Entry> entry = read(line, number);
    if (!entry) {
      return Error(
          "cannot read line " + std::to_string(number) + " of " + file + ": " + entry.error().cause(),
          "see 'ALLOWED SIGNERS' in ssh-keygen(1)");
    }
    signers.entries_.push_back(*std::move(entry));
  }
  if (signers.entries_.empty())
    return Error("cannot use " + file + ": it allows no signer", "add a line 'principals type key'");
  return signers;
}

Outcome<> AllowedSigners::check(const Entry& entry, std::string_view name_space, std::int64_t time) const {
  const std::string where = "line " + std::to_string(entry.line) + " of " + file_;
  if (entry.authority)
    return Error(where + " makes it an authority for certificates, which are not supported");
  if (entry.namespaces && !matches_patterns(name_space, *entry.namespaces)) {
    return Error(where + " allows it for '" + *entry.namespaces + "' and not for '" +
                 std::string(name_space) + "'");
  }
  if (entry.valid_after && time < *entry.valid_after) {
    return Error(where + " allows it from " + day(*entry.valid_after) + ", and this is of " + day(time));
  }
  if (entry.valid_before && time > *entry.valid_before) {
    return Error(where + " allows it until " + day(*entry.valid_before) + ", and this is of " + day(time));
  }
  return {};
}

Outcome<std::string> AllowedSigners::find(const std::string& key, std::string_view name_space,
                                          std::int64_t time) const {
  std::string why = "it is not in " + file_;
  for (const Entry& entry : entries_) {
    if (entry.key != key) continue;
    const auto allowed = check(entry, name_space, time);
    if (allowed) return entry.principals;
    why = allowed.error().cause();
  }
  return Error("key " + ssh_fingerprint(key) + " may not sign it: " + why,
               "have it signed by a key that may, or let this key by --allowed-signers");
}

}  // namespace kms::builder
