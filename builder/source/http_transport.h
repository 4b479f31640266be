// HttpTransport carries a fetch over http and https by libcurl: TLS, proxies, redirects and logins are
// libcurl's.
//
// Owned and used by one thread. libcurl keeps the connection between requests. The transport reads only as
// far as it is asked to, and gives up when the meter says so.
#pragma once

#include <curl/curl.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "builder/source/credentials.h"
#include "builder/source/diagnosis.h"
#include "builder/source/transport.h"

namespace kms::builder {

class HttpTransport final : public Transport {
 public:
  /// `meter` outlives the transport.
  HttpTransport(const FetchRequest& request, FetchMeter& meter);
  HttpTransport(const HttpTransport&) = delete;
  HttpTransport& operator=(const HttpTransport&) = delete;
  ~HttpTransport() override;

  std::string connect() override;
  [[nodiscard]] bool stateless() const override { return true; }
  void send(std::string_view request) override;
  std::size_t receive(char* into, std::size_t size) override;

 private:
  template <auto free>
  struct Free {
    template <class T>
    void operator()(T* handle) const {
      free(handle);
    }
  };

  static std::size_t on_body(char* bytes, std::size_t one, std::size_t size, void* self) noexcept;
  static std::size_t on_header(char* bytes, std::size_t one, std::size_t size, void* self) noexcept;
  static curl_socket_t open_socket(void* self, curlsocktype purpose, curl_sockaddr* address) noexcept;
  static int close_socket(void* self, curl_socket_t fd) noexcept;

  std::string advertisement();
  void begin(const std::string& url);
  void pump();
  void end();
  void count_bytes();
  std::string whole_answer();
  void require_good_answer(std::string_view content_type, std::string_view body);
  void log_in();
  void follow_redirect();
  [[nodiscard]] bool is_redirected() const;
  [[nodiscard]] std::string redirection() const;
  [[nodiscard]] long status() const;
  [[nodiscard]] FetchError failure(CURLcode code) const;
  [[nodiscard]] FetchError failure_at_server(CURLcode code) const;
  [[nodiscard]] FetchError connection_failure(CURLcode code) const;
  [[nodiscard]] FetchError long_head_failure() const;
  [[nodiscard]] FetchError status_failure(std::string_view body) const;

  RepositoryUrl url_;
  Login login_;
  FetchMeter& meter_;
  std::string base_;         ///< of the requests' URLs, without a login
  std::string request_;      ///< libcurl does not copy it
  std::string answer_;       ///< the part of the body that was not given away
  bool running_ = false;     ///< the answer to a request is not complete
  bool whole_head_ = false;  ///< the latest header was complete
  bool has_body_ = false;    ///< a part of the answer's body has come
  bool checked_ = false;     ///< status and type of the answer are as they should be
  bool logged_in_ = false;
  CURLcode result_ = CURLE_OK;
  std::array<char, CURL_ERROR_SIZE> text_{};  ///< libcurl's, of the latest failure
  std::uint64_t bytes_before_ = 0;            ///< the meter's
  std::uint64_t payload_ = 0;                 ///< bytes of headers and bodies
  std::uint64_t closed_bytes_ = 0;            ///< of closed connections
  std::uint64_t bytes_at_begin_ = 0;          ///< the meter's, before the latest request
  std::vector<curl_socket_t> sockets_;
  std::unique_ptr<curl_slist, Free<curl_slist_free_all>> headers_;          ///< for the advertisement
  std::unique_ptr<curl_slist, Free<curl_slist_free_all>> request_headers_;  ///< for the other requests
  std::unique_ptr<CURLM, Free<curl_multi_cleanup>> multi_;
  std::unique_ptr<CURL, Free<curl_easy_cleanup>> easy_;
};

}  // namespace kms::builder
