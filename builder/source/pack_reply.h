// PackReply reads a server's answer to a fetch, packet by packet, and gives the pack's bytes away.
//
// Used on the fetching thread. It keeps nothing of the pack; a refusal of the server is a ServerRefusal.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "builder/source/pkt_line.h"
#include "common/error.h"

namespace kms::builder {

/// The server understood the request and will not serve it.
class ServerRefusal : public Error {
 public:
  enum class Kind {
    filter,          ///< it does not leave out what it was asked to leave out
    unknown_object,  ///< it does not have, or does not give, an object by its id
    empty,           ///< it said nothing at all, as servers do that do not know a word of the request
    other
  };
  ServerRefusal(Kind kind, const std::string& text) : Error(text), kind_(kind) {}

  /// By the words of git's upload-pack (upload-pack.c, list-objects-filter-options.c).
  [[nodiscard]] static ServerRefusal of(std::string_view text);

  [[nodiscard]] Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

class PackReply {
 public:
  PackReply(int version, std::function<void(std::string_view)> on_pack)
      : version_(version), on_pack_(std::move(on_pack)) {}

  /// True until the answer is complete. Throws ServerRefusal, Error.
  bool add(const Packet& packet);

  [[nodiscard]] bool complete() const { return complete_; }

 private:
  void add_head(const Packet& packet);
  void add_band(std::string_view payload);

  int version_;
  std::function<void(std::string_view)> on_pack_;
  bool in_pack_ = false;
  bool complete_ = false;
};

}  // namespace kms::builder
