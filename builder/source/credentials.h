// Credentials are what is offered to a server that asks who is there, one after the other.
//
// Used on the fetching thread, from libgit2's frames: nothing here throws. What they hold is never shown.
#pragma once

#include "builder/source/fetch.h"

namespace kms::builder {

class Credentials {
 public:
  /// The URL's user and password go before the request's login.
  explicit Credentials(const FetchRequest& request);

  /// A new connection begins: everything may be offered again.
  void begin() { offers_ = 0; }

  /// git_credential_acquire_cb's job: 0 with a credential, or GIT_EAUTH with the cause set in libgit2.
  int offer(git_credential** out, const char* user, unsigned allowed) noexcept;

 private:
  int offer_http(git_credential** out);
  int offer_ssh(git_credential** out, const char* user, unsigned allowed);

  bool ssh_;
  Login login_;
  unsigned offers_ = 0;
};

}  // namespace kms::builder
