// UploadPack is a conversation with git-upload-pack: the greeting, then requests, over any Wire.
//
// Owns nothing but the state of the conversation; used on the fetching thread. It connects by itself, at
// first and whenever the connection is used up, and asks once more where a kept-alive one turns out to be
// gone.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "builder/source/meter.h"
#include "builder/source/pack_reply.h"
#include "builder/source/pack_request.h"
#include "builder/source/wire.h"

namespace kms::builder {

class UploadPack {
 public:
  UploadPack(Wire& wire, FetchMeter& meter) : wire_(wire), meter_(meter) {}

  /// What the server can do. Throws Error where it cannot be reached.
  const ServerOffer& offer();

  /// The refs whose names begin with one of `prefixes`, under version 0 all; at most as many as fit into
  /// `max_bytes`.
  [[nodiscard]] std::vector<AdvertisedRef> refs(const std::vector<std::string>& prefixes,
                                                std::size_t max_bytes);

  /// Asks for a pack and gives its bytes to `on_pack`. Throws ServerRefusal, Error.
  void fetch(const Wants& wants, const std::function<void(std::string_view)>& on_pack);

 private:
  void connect();
  void ask(const std::string& request, const std::function<bool(const Packet&)>& on_packet);
  std::size_t exchange(const std::string& request, const std::function<bool(const Packet&)>& on_packet);

  Wire& wire_;
  FetchMeter& meter_;
  std::optional<ServerOffer> offer_;
  bool connected_ = false;
};

}  // namespace kms::builder
