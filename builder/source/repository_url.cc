#include "builder/source/repository_url.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "common/text/logins.h"

namespace kms::builder {
namespace {

using Kind = RepositoryUrl::Kind;

/// A user's name may be a token if it is as long. A shorter one is a word of many messages, such as "git".
constexpr std::size_t min_token = 8;

constexpr auto forms =
    "give http://, https://, git://, ssh:// or file:// and a host, user@host:path, or a local path";

constexpr std::array<std::pair<std::string_view, Kind>, 7> schemes{{{"http://", Kind::http},
                                                                    {"https://", Kind::https},
                                                                    {"git://", Kind::git},
                                                                    {"ssh://", Kind::ssh},
                                                                    {"git+ssh://", Kind::ssh},
                                                                    {"ssh+git://", Kind::ssh},
                                                                    {"file://", Kind::local}}};

/// RFC 3986, section 2.1; a percent sign without two hex digits stands for itself.
std::string percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      result += static_cast<char>(value);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// The error for text in which a login is not where a URL has it. It quotes nothing: any part may be a
/// secret.
Error misplaced_login() {
  return {
      "the repository's URL has an @ after the host",
      "percent-encode the password and the user (/ is %2F, ? is %3F, # is %23, @ is %40), and write an @ of "
      "the path as %40, or a local path with ./"};
}

/// RFC 3986, section 3.1.
bool is_scheme(std::string_view text) {
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 &&
         std::ranges::all_of(
             text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.'; });
}

/// True if a host with an optional port ("[::1]:80") has a port that is none.
bool has_bad_port(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  if (colon == std::string_view::npos || host.find(']', colon) != std::string_view::npos) return false;
  const std::string_view port = host.substr(colon + 1);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  return !port.empty() && (error != std::errc{} || end != port.data() + port.size() || value > 65535);
}

/// False for text such as "//user:password@host/x" and "token@host/x", which is rather a URL than a path.
bool is_path(std::string_view text) {
  const bool is_plain =
      text.starts_with("./") || text.starts_with("../") || (text.starts_with('/') && !text.starts_with("//"));
  return is_plain || text.find('@') == std::string_view::npos;
}

bool has_control_bytes(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

Outcome<RepositoryUrl> RepositoryUrl::parse(std::string_view text) {
  if (text.empty()) return Error("the repository's URL is empty", forms);
  if (has_control_bytes(text)) return Error("the repository's URL holds control characters", forms);
  for (const auto& [scheme, kind] : schemes) {
    if (!text.starts_with(scheme)) continue;
    return kind == Kind::local ? parse_file_url(text) : parse_url(kind, text, scheme.size());
  }
  if (text.find("://") != std::string_view::npos) {
    const std::string_view scheme = text.substr(0, text.find("://"));
    if (!is_scheme(scheme)) return misplaced_login();
    return Error("'" + std::string(scheme) + "' is not a scheme that git can be fetched by", forms);
  }
  // git's own rule (git-clone(1), "GIT URLS"): a colon before the first slash makes it scp's short form.
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && colon < text.find('/')) {
    const std::size_t at = text.substr(0, colon).find('@');
    if (text.find('@', at == std::string_view::npos ? colon : at + 1) != std::string_view::npos)
      return misplaced_login();
    const std::size_t host = at == std::string_view::npos ? 0 : at + 1;
    RepositoryUrl url(Kind::ssh, std::string(text), std::string(text.substr(host)));
    url.user_ = text.substr(0, at == std::string_view::npos ? 0 : at);
    return url;
  }
  if (!is_path(text)) return misplaced_login();
  return RepositoryUrl(Kind::local, std::string(text), std::string(text));
}

Outcome<RepositoryUrl> RepositoryUrl::parse_url(Kind kind, std::string_view text, std::size_t scheme_length) {
  const std::string_view scheme = text.substr(0, scheme_length);
  const std::string_view rest = text.substr(scheme_length);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  const std::size_t at = authority.rfind('@');
  const std::string_view userinfo = at == std::string_view::npos ? "" : authority.substr(0, at);
  const std::string_view host = at == std::string_view::npos ? authority : authority.substr(at + 1);
  if (host.empty() || host.front() == ':') return Error("the repository's URL names no host", forms);
  const std::string_view path = rest.substr(authority.size());
  if (path.find('@') != std::string_view::npos) return misplaced_login();
  if (has_bad_port(host)) return Error("the port in the repository's URL is not a number up to 65535", forms);
  const std::size_t extra = path.find_first_of("?#");
  RepositoryUrl url(kind, std::string(text),
                    std::string(scheme) + std::string(host) + std::string(path.substr(0, extra)));
  const std::size_t colon = userinfo.find(':');
  url.user_ = percent_decoded(userinfo.substr(0, colon));
  url.path_ = percent_decoded(path.substr(0, extra));
  if (has_control_bytes(url.path_)) return Error("the repository's URL holds control characters", forms);
  // libgit2 1.5 cannot read the other names of the scheme.
  if (kind == Kind::ssh) url.location_.replace(0, scheme_length, "ssh://");
  // libgit2 1.5 decodes no path of an ssh URL, and reads no blank. scp's form has the path as it is; brackets
  // enclose a port.
  const bool is_plain = std::ranges::all_of(url.path_, [](char c) { return c > ' ' && c < 0x7F; });
  if (kind == Kind::ssh && (!is_plain || url.path_ != path.substr(0, extra))) {
    const std::string place = (url.user_.empty() ? "" : url.user_ + "@") + std::string(host);
    const bool has_port = host.find(':', host.front() == '[' ? host.find(']') : 0) != std::string_view::npos;
    url.location_ = (has_port ? "[" + place + "]" : place) + ":" + url.path_;
  }
  const std::string_view password = colon == std::string_view::npos ? "" : userinfo.substr(colon + 1);
  url.secrets_[0] = userinfo;
  url.secrets_[1] = password;
  url.secrets_[2] = percent_decoded(password);
  url.secrets_[3] = extra == std::string_view::npos ? "" : path.substr(extra + 1);
  if (kind != Kind::ssh) url.secrets_[4] = url.user_;
  return url;
}

Outcome<RepositoryUrl> RepositoryUrl::parse_file_url(std::string_view text) {
  constexpr std::string_view scheme = "file://";
  std::string_view path = text.substr(scheme.size());
  if (path.starts_with("localhost/")) path.remove_prefix(9);
  if (!path.starts_with('/')) {
    return Error("the file:// URL names another host", "write file:///path for a directory of this machine");
  }
  const std::string decoded = percent_decoded(path);
  return RepositoryUrl(Kind::local, decoded, std::string(scheme) + std::string(path));
}

std::string RepositoryUrl::scrub(std::string text) const {
  if (kind_ == Kind::local) return text;
  for (std::size_t at = 0;
       !location_.empty() && location_ != display_ && (at = text.find(location_, at)) != std::string::npos;
       at += display_.size()) {
    text.replace(at, location_.size(), display_);
  }
  for (std::size_t i = 0; i < secrets_.size(); ++i) {
    // Over ssh the name alone ("git@") is no secret. Over HTTP it may be a token.
    const bool only_a_name = i == 4 || (i == 0 && secrets_[1].empty());
    if (only_a_name && (kind_ == Kind::ssh || secrets_[i].size() < min_token)) continue;
    if (display_.find(secrets_[i]) == std::string::npos) text = without_secret(std::move(text), secrets_[i]);
  }
  return text;
}

}  // namespace kms::builder
