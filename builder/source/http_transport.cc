#include "builder/source/http_transport.h"

#include <absl/strings/escaping.h>
#include <linux/tcp.h>  // tcpi_bytes_received, which <netinet/tcp.h> lacks
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "builder/git/libgit2.h"
#include "builder/source/protocol.h"
#include "builder/source/proxy.h"
#include "common/text/escape.h"
#include "common/text/logins.h"

namespace kms::builder {
namespace {

constexpr int cancel_check_ms = 20;
constexpr std::size_t max_error_page = std::size_t{64} * 1024;
constexpr std::size_t max_quoted = 300;
constexpr std::uint64_t long_head = 16 * 1024;  ///< libcurl's lowest limit, for the head of a proxy's answer
constexpr std::int64_t max_retry_after = 24 * 3600;
constexpr long max_redirects = 7;
constexpr std::string_view refs_of_service = "/info/refs?service=git-upload-pack";

constexpr auto try_again = "try again; check the network and a proxy";

struct KnownFailure {
  CURLcode code;
  const char* next_step;
  bool transient;
};

/// libcurl-errors(3).
constexpr std::array known_codes{
    KnownFailure{CURLE_COULDNT_RESOLVE_HOST, "check the host's name in --repo, and this machine's DNS", true},
    KnownFailure{CURLE_RECV_ERROR, try_again, true},
    KnownFailure{CURLE_SEND_ERROR, try_again, true},
    KnownFailure{CURLE_GOT_NOTHING, try_again, true},
    KnownFailure{CURLE_PARTIAL_FILE, try_again, true},
    KnownFailure{CURLE_BAD_CONTENT_ENCODING, try_again, true},
    KnownFailure{
        CURLE_PEER_FAILED_VERIFICATION,
        "give the certificate of the server's CA by --ca-file, the host's name as the certificate has "
        "it, and check its dates",
        false},
    KnownFailure{CURLE_SSL_CACERT_BADFILE, "give certificates in PEM format by --ca-file", false},
    KnownFailure{CURLE_URL_MALFORMAT, "check --repo: scheme://host:port/path, with special characters as %XX",
                 false},
    KnownFailure{CURLE_WEIRD_SERVER_REPLY, "check scheme and port in --repo: the server's answer is not HTTP",
                 false},
    KnownFailure{CURLE_TOO_MANY_REDIRECTS,
                 "give --repo the URL that the server redirects to; `curl -IL` shows it", false}};

/// Reads a part of a URL; "" if it is no URL.
std::string part_of(const std::string& url, CURLUPart part) {
  const std::unique_ptr<CURLU, Free<curl_url_cleanup>> parsed(curl_url());
  char* text = nullptr;
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_URLENCODE) != CURLUE_OK ||
      curl_url_get(parsed.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) {
    return "";
  }
  std::string result(text);
  curl_free(text);
  return result;
}

bool is_same_origin(const std::string& a, const std::string& b) {
  return std::ranges::all_of(
      std::array{CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT},
      [&](CURLUPart part) { return curl_strequal(part_of(a, part).c_str(), part_of(b, part).c_str()) != 0; });
}

void prepare_libcurl() {
  static const bool once = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  if (!once) throw Error("cannot set libcurl up");
}

/// True if libcurl ended because a head exceeds its limits. `bytes` of the answer were received, `has_body`
/// if its body had begun. libcurl 7.88 takes a long line for a lack of memory; 8.6 and newer give it a code
/// of its own.
bool says_head_is_too_long(CURLcode code, std::string_view text, bool has_body, std::uint64_t bytes) {
  constexpr int too_large = 100;  // CURLE_TOO_LARGE
  if (code == CURLE_OUT_OF_MEMORY || static_cast<int>(code) == too_large)
    return !has_body && bytes >= long_head;
  return text.starts_with("Too large response headers") || text.starts_with("CONNECT response too large");
}

/// The server's plain text, for the end of a message.
std::string quoted_text(std::string_view body) {
  while (!body.empty() && (body.back() == '\n' || body.back() == '\r')) body.remove_suffix(1);
  return body.empty() ? "" : ": " + in_quotes(body, max_quoted);
}

/// `text` without a login, also as a server sees it in a request's head.
std::string without_login_of_basic(std::string text, const std::string& user, const std::string& password) {
  if (user.empty()) return text;
  const std::string login = user + ":" + password;
  return without_secret(without_secret(std::move(text), absl::Base64Escape(login)), password);
}

/// The seconds that the latest answer asks to wait. libcurl takes a number that it cannot hold for none.
std::int64_t retry_after(CURL* easy) {
  curl_off_t seconds = 0;
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
  curl_header* header = nullptr;
  if (seconds == 0 && curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK) {
    const std::string_view text = header->value;
    if (text.size() > 18 && text.find_first_not_of("0123456789") == std::string_view::npos)
      return max_retry_after;
  }
  return std::min<std::int64_t>(seconds, max_retry_after);
}

std::uint64_t received_by(curl_socket_t fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

}  // namespace

HttpTransport::HttpTransport(const FetchRequest& request, FetchMeter& meter)
    : url_(request.repository),
      login_(request.login),
      meter_(meter),
      base_(url_.display()),
      bytes_before_(meter.bytes) {
  prepare_libcurl();
  if (!url_.user().empty()) login_.user = url_.user();
  if (!url_.password().empty()) login_.password = Secret(url_.password());
  while (base_.ends_with('/')) base_.pop_back();
  multi_.reset(curl_multi_init());
  easy_.reset(curl_easy_init());
  headers_.reset(curl_slist_append(nullptr, "Git-Protocol: version=2"));
  for (const char* line :
       {"Git-Protocol: version=2", "Expect:", "Accept: application/x-git-upload-pack-result",
        "Content-Type: application/x-git-upload-pack-request"})
    request_headers_.reset(curl_slist_append(request_headers_.release(), line));
  CURL* easy = easy_.get();
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, text_.data());
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "git/2.0 (mock-kms-plugin " KMS_VERSION ")");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  const bool secure = url_.kind() == RepositoryUrl::Kind::https;
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, max_redirects);
  curl_easy_setopt(easy, CURLOPT_PROXYAUTH, CURLAUTH_ANY);
  // libcurl 8.9 and newer no longer takes blanks between the names.
  if (std::string names = hosts_without_proxy(); !names.empty())
    curl_easy_setopt(easy, CURLOPT_NOPROXY, names.c_str());
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
  if (!login_.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, login_.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);  // these authorities alone
  }
}

HttpTransport::~HttpTransport() {
  end();
  easy_.reset();
  multi_.reset();  // calls close_socket()
}

std::string HttpTransport::connect() {
  try {
    return advertisement();
  } catch (const FetchError& error) {
    throw FetchError(error.within("cannot reach " + url_.display()), error.transient());
  } catch (const Error& error) {
    throw error.within("cannot reach " + url_.display());
  }
}

std::string HttpTransport::advertisement() {
  base_ = part_of(url_.display(), CURLUPART_URL);
  if (base_.empty()) throw failure(CURLE_URL_MALFORMAT);
  while (base_.ends_with('/')) base_.pop_back();
  logged_in_ = false;
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPAUTH, CURLAUTH_NONE);
  curl_easy_setopt(easy_.get(), CURLOPT_USERNAME, nullptr);
  curl_easy_setopt(easy_.get(), CURLOPT_PASSWORD, nullptr);
  std::string body;
  for (;;) {
    curl_easy_setopt(easy_.get(), CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, headers_.get());
    curl_easy_setopt(easy_.get(), CURLOPT_FOLLOWLOCATION, 1L);
    begin(base_ + std::string(refs_of_service));
    body = whole_answer();
    if (status() != 401) break;
    log_in();
  }
  require_good_answer("application/x-git-upload-pack-advertisement", body);
  follow_redirect();
  return body;
}

void HttpTransport::send(std::string_view request) {
  request_ = request;
  curl_easy_setopt(easy_.get(), CURLOPT_POST, 1L);
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, request_headers_.get());
  curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDS, request_.data());
  curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.size()));
  curl_easy_setopt(easy_.get(), CURLOPT_FOLLOWLOCATION, 0L);
  begin(base_ + "/git-upload-pack");
}

std::size_t HttpTransport::receive(char* into, std::size_t size) {
  while (answer_.empty() && running_) pump();
  if (result_ != CURLE_OK) throw failure(result_);
  if (!checked_ && status() == 401) {  // the advertisement needed no login
    whole_answer();
    log_in();
    begin(base_ + "/git-upload-pack");
    return receive(into, size);
  }
  if (!checked_) {
    if (status() != 200) throw status_failure(whole_answer());
    require_good_answer("application/x-git-upload-pack-result", "");
    checked_ = true;
  }
  const std::size_t n = std::min(size, answer_.size());
  std::memcpy(into, answer_.data(), n);
  answer_.erase(0, n);
  return n;
}

/// Reads the answer to its end.
std::string HttpTransport::whole_answer() {
  while (running_) {
    pump();
    if (answer_.size() > max_advertisement) throw Error("the server's list of refs does not end");
  }
  const bool is_long_page = result_ == CURLE_WRITE_ERROR && status() != 200;
  if (result_ != CURLE_OK && !is_long_page) throw failure(result_);
  return std::exchange(answer_, {});
}

void HttpTransport::begin(const std::string& url) {
  end();
  answer_.clear();
  checked_ = false;
  whole_head_ = false;
  has_body_ = false;
  bytes_at_begin_ = meter_.bytes;
  text_[0] = '\0';
  result_ = CURLE_OK;
  curl_easy_setopt(easy_.get(), CURLOPT_URL, url.c_str());
  running_ = curl_multi_add_handle(multi_.get(), easy_.get()) == CURLM_OK;
  if (!running_) throw failure(CURLE_FAILED_INIT);
}

void HttpTransport::end() {
  curl_multi_remove_handle(multi_.get(), easy_.get());
  running_ = false;
}

/// Lets libcurl work. Waits a little if there is nothing to do.
void HttpTransport::pump() {
  if (meter_.cancelled) throw failure(CURLE_ABORTED_BY_CALLBACK);
  int left = 0;
  curl_multi_perform(multi_.get(), &left);
  count_bytes();
  int more = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &more)) {
    result_ = message->data.result;
    // libcurl takes a head that is cut for a whole one.
    if (result_ == CURLE_OK && !whole_head_) result_ = CURLE_PARTIAL_FILE;
    end();
    return;
  }
  if (answer_.empty()) curl_multi_poll(multi_.get(), nullptr, 0, cancel_check_ms, nullptr);
}

void HttpTransport::count_bytes() {
  std::uint64_t received = closed_bytes_;
  for (const curl_socket_t fd : sockets_) received += received_by(fd);
  const std::uint64_t bytes = bytes_before_ + std::max(received, payload_);  // not every system counts
  if (bytes > meter_.bytes) ++meter_.activity;
  meter_.bytes = bytes;
}

std::size_t HttpTransport::on_body(char* bytes, std::size_t /*one*/, std::size_t size, void* self) noexcept {
  auto& transport = *static_cast<HttpTransport*>(self);
  transport.payload_ += size;
  transport.has_body_ = true;
  if (transport.status() != 200 && transport.answer_.size() > max_error_page) return CURL_WRITEFUNC_ERROR;
  transport.answer_.append(bytes, size);
  return size;
}

std::size_t HttpTransport::on_header(char* bytes, std::size_t /*one*/, std::size_t size,
                                     void* self) noexcept {
  auto& transport = *static_cast<HttpTransport*>(self);
  transport.payload_ += size;
  ++transport.meter_.activity;
  transport.whole_head_ = std::string_view(bytes, size).find_first_not_of("\r\n") == std::string_view::npos;
  return size;
}

curl_socket_t HttpTransport::open_socket(void* self, curlsocktype /*purpose*/,
                                         curl_sockaddr* address) noexcept {
  auto& transport = *static_cast<HttpTransport*>(self);
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  transport.sockets_.push_back(fd);
  return fd;
}

int HttpTransport::close_socket(void* self, curl_socket_t fd) noexcept {
  auto& transport = *static_cast<HttpTransport*>(self);
  if (std::erase(transport.sockets_, fd) > 0) transport.closed_bytes_ += received_by(fd);
  return ::close(fd);
}

long HttpTransport::status() const {
  long code = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &code);
  return code;
}

bool HttpTransport::is_redirected() const {
  char* reached = nullptr;
  curl_easy_getinfo(easy_.get(), CURLINFO_EFFECTIVE_URL, &reached);
  return reached != nullptr && !is_same_origin(reached, url_.display());
}

/// After a 401. Throws if there is nothing that would help.
void HttpTransport::log_in() {
  if (is_redirected()) {
    throw FetchError({"another server than that of --repo asks for a user and a password",
                      "give --repo the URL that the server redirects to; `curl -IL` shows it"},
                     false);
  }
  if (login_.user.empty()) {
    throw FetchError(
        {"the server asks for a user and a password, and none is given", "give --user and --password-file"},
        false);
  }
  if (logged_in_) {
    throw FetchError(
        {"the server refuses the user and password", "give the right --user and --password-file"}, false);
  }
  logged_in_ = true;
  long offered = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_HTTPAUTH_AVAIL, &offered);
  // Basic needs no further round trips, and tokens work with nothing else.
  const long methods = static_cast<long>(CURLAUTH_ANY) & offered;
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPAUTH,
                   (offered & static_cast<long>(CURLAUTH_BASIC)) != 0 || methods == 0
                       ? static_cast<long>(CURLAUTH_BASIC)
                       : methods);
  curl_easy_setopt(easy_.get(), CURLOPT_USERNAME, login_.user.c_str());
  curl_easy_setopt(easy_.get(), CURLOPT_PASSWORD, login_.password.reveal().c_str());
}

/// Requests go where the advertisement came from. A login stays with its server.
void HttpTransport::follow_redirect() {
  char* reached = nullptr;
  curl_easy_getinfo(easy_.get(), CURLINFO_EFFECTIVE_URL, &reached);
  const std::string url = reached == nullptr ? "" : reached;
  const std::size_t end = url.rfind("/info/refs");
  if (end == std::string::npos) {
    throw FetchError({"the server redirects to something other than a repository",
                      "give --repo the URL that the server redirects to; `curl -IL` shows it"},
                     false);
  }
  if (is_redirected()) {
    curl_easy_setopt(easy_.get(), CURLOPT_USERNAME, nullptr);
    curl_easy_setopt(easy_.get(), CURLOPT_PASSWORD, nullptr);
  }
  base_ = url.substr(0, end);
}

void HttpTransport::require_good_answer(std::string_view content_type, std::string_view body) {
  if (status() != 200) throw status_failure(body);
  const char* type = nullptr;
  curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr && std::string_view(type).starts_with(content_type)) return;
  throw Error("invalid content-type: " + (type == nullptr ? "none" : "'" + std::string(type) + "'"));
}

FetchError HttpTransport::status_failure(std::string_view body) const {
  meter_.retry_after = retry_after(easy_.get());
  const char* type = nullptr;
  curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_TYPE, &type);
  const std::string cause = "unexpected http status code: " + std::to_string(status());
  const Diagnosis diagnosis = diagnose(0, cause);
  const bool is_text = type != nullptr && std::string_view(type).starts_with("text/plain");
  // Before it is shortened, which may cut a secret in two.
  const std::string text =
      without_login_of_basic(url_.scrub(std::string(body)), login_.user, login_.password.reveal());
  return {{cause + (is_text ? quoted_text(text) : "") + redirection(), diagnosis.next_step},
          diagnosis.transient};
}

/// " (redirected to SCHEME://HOST:PORT)" if the latest request left the server of --repo.
std::string HttpTransport::redirection() const {
  if (!is_redirected()) return "";
  char* reached = nullptr;
  curl_easy_getinfo(easy_.get(), CURLINFO_EFFECTIVE_URL, &reached);
  return " (redirected to " + part_of(reached, CURLUPART_SCHEME) + "://" + part_of(reached, CURLUPART_HOST) +
         ":" + part_of(reached, CURLUPART_PORT) + ")";
}

FetchError HttpTransport::failure(CURLcode code) const {
  const FetchError error = failure_at_server(code);
  const std::string elsewhere = redirection();
  const bool is_about_redirects =
      code == CURLE_TOO_MANY_REDIRECTS || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT;
  if (elsewhere.empty() || is_about_redirects) return error;
  return {{error.cause() + elsewhere, "check that server and the redirect; `curl -IL` shows it"},
          error.transient()};
}

FetchError HttpTransport::failure_at_server(CURLcode code) const {
  if (code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT || code == CURLE_PROXY)
    return connection_failure(code);
  long tunnel = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_HTTP_CONNECTCODE, &tunnel);
  const std::string text = text_[0] != '\0' ? text_.data() : curl_easy_strerror(code);
  if (text.starts_with("Could not resolve proxy")) return connection_failure(CURLE_COULDNT_RESOLVE_PROXY);
  if (says_head_is_too_long(code, text, has_body_, meter_.bytes - bytes_at_begin_))
    return long_head_failure();
  if (tunnel != 0 && tunnel / 100 != 2) {
    const std::string cause = "proxy returned unexpected status: " + std::to_string(tunnel);
    const Diagnosis diagnosis = diagnose(0, cause);
    return {{cause, diagnosis.next_step}, diagnosis.transient};
  }
  const auto entry = std::ranges::find(known_codes, code, &KnownFailure::code);
  if (entry != known_codes.end()) return {{text, entry->next_step}, entry->transient};
  if (code == CURLE_SSL_CONNECT_ERROR) {
    // OpenSSL names its own errors; without one the connection was lost.
    const bool lost =
        text.find("error:") == std::string::npos || text.find("unexpected eof") != std::string::npos;
    return {
        {text, lost ? try_again
                    : "check that the port in --repo speaks TLS, and which TLS versions the server allows"},
        lost};
  }
  if (code == CURLE_UNSUPPORTED_PROTOCOL) {
    const bool redirected = status() / 100 == 3;
    return {{text, redirected ? "give --repo the URL that the server redirects to; `curl -IL` shows it"
                              : "check scheme and port in --repo: the server's answer is not HTTP"},
            false};
  }
  return {{text, "check --repo, the server and the network"}, false};
}

FetchError HttpTransport::long_head_failure() const {
  const std::string variable = proxy_variable(url_);
  if (variable.empty())
    return {{"the headers of the answer are too long",
             "check host and port in --repo, and the server's settings: no git server sends such headers"},
            false};
  return {{"the headers of the answer are too long (through the proxy of " + variable + ")",
           "check " + variable + ", and host and port in --repo: no git server sends such headers"},
          false};
}

/// There was no connection to the server or to a proxy.
FetchError HttpTransport::connection_failure(CURLcode code) const {
  const std::string text = text_[0] != '\0' ? text_.data() : curl_easy_strerror(code);
  long number = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &number);
  const bool refused = number == ECONNREFUSED || number == 0;
  const std::string variable = proxy_variable(url_);
  char* reached = nullptr;
  curl_easy_getinfo(easy_.get(), CURLINFO_EFFECTIVE_URL, &reached);
  const std::string host = host_and_port(reached == nullptr ? url_.display() : reached, "").host;
  const bool is_proxy = code != CURLE_COULDNT_CONNECT || text.find(" to " + host + " ") == std::string::npos;
  const std::string cause =
      number == 0 ? text
      : is_proxy  ? "failed to connect: " + errno_text(static_cast<int>(number))
                  : "failed to connect to " + host + ": " + errno_text(static_cast<int>(number));
  if (!variable.empty() && is_proxy) {
    const bool is_url = text.find("Unsupported proxy s") == std::string::npos;  // "syntax", "scheme"
    return {{cause + " (the proxy of " + variable + ")",
             "check " + variable + ", or add the host of --repo to no_proxy"},
            is_url};
  }
  return {{cause, refused ? "check host and port in --repo, and that the server runs"
                          : "check the network, a firewall and the proxy settings"},
          true};
}

}  // namespace kms::builder
