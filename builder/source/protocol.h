// Git's wire protocol as bytes: packets, the server's advertisement and the requests of a fetch.
//
// Pure. Version 2 follows gitprotocol-v2(5), version 0 gitprotocol-pack(5), packets gitprotocol-common(5).
// Nothing a server sends is trusted: bytes that are not git's protocol throw Error, and no packet is longer
// than 65,520 bytes.
#pragma once

#include <git2/oid.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kms::builder {

inline constexpr std::string_view flush_packet = "0000";
inline constexpr std::string_view delimiter_packet = "0001";

/// `payload` (at most 65,516 bytes) with its length in front.
[[nodiscard]] std::string pkt_line(std::string_view payload);

struct Packet {
  enum class Kind { data, flush, delimiter, response_end };
  Kind kind = Kind::data;
  std::string_view payload;  ///< valid until the reader gets more bytes

  /// The payload without the line end that text packets may have.
  [[nodiscard]] std::string_view line() const;
};

class PktReader {
 public:
  /// Calls `on_packet` for each packet that `bytes` complete, as long as it returns true. The rest is kept.
  void add(std::string_view bytes, const std::function<bool(const Packet&)>& on_packet);

  /// The bytes after the last packet, which may be no packets.
  [[nodiscard]] std::string take_rest() { return std::exchange(pending_, {}); }

 private:
  std::string pending_;
};

struct AdvertisedRef {
  std::string name;
  git_oid id{};
  std::optional<git_oid> peeled;  ///< the object that an annotated tag leads to

  [[nodiscard]] const git_oid& target() const { return peeled ? *peeled : id; }
};

/// The server's protocol version, its capabilities and, in version 0, its refs.
struct Advertisement {
  int version = 0;
  bool filters = false;             ///< leaves objects out of packs
  bool shallow = false;             ///< sends a commit without its history
  bool any_object = false;          ///< sends objects that no ref points to
  bool refs_by_name = false;        ///< v2: sends the object of a ref that is asked for by its name
  bool object_format = false;       ///< v2: wants to know the kind of ids in requests
  std::string capabilities;         ///< v0 only: words that a request may use
  std::vector<AdvertisedRef> refs;  ///< v0 only

  /// True if the server offered a v0 capability.
  [[nodiscard]] bool offers(std::string_view capability) const;

  /// True if a pack comes in packets, beside progress and errors.
  [[nodiscard]] bool has_side_band() const;

  /// Reads all packets of an advertisement, with or without HTTP's "# service" head. Throws Error if it is
  /// damaged, if the server refuses (ERR), and if the ids are SHA-256, which libgit2 cannot read.
  [[nodiscard]] static Advertisement read(std::string_view text);
};

/// More than a million refs. A longer advertisement is an error.
inline constexpr std::size_t max_advertisement = std::size_t{256} * 1024 * 1024;

/// Finds the end of an advertisement on a connection that stays open: a flush packet that does not belong to
/// HTTP's head.
class AdvertisementEnd {
 public:
  /// True if `bytes` complete the advertisement. Throws Error if it is not git's protocol, or too long.
  bool add(std::string_view bytes);

 private:
  PktReader packets_;
  std::size_t size_ = 0;
  bool head_ = false;
};

/// Reads 40 hex digits.
[[nodiscard]] git_oid parse_id(std::string_view hex);

/// The content that a pack shall have.
struct Wants {
  std::vector<git_oid> ids;
  std::string filter;    ///< as git-rev-list's --filter takes it; "" leaves nothing out
  bool shallow = false;  ///< commits without their parents, if the server can
  std::string ref{};     ///< also the object of this full name, if the server gives refs by name
};

/// Uses nothing that the server did not offer.
[[nodiscard]] std::string pack_request(const Advertisement& server, const Wants& wants);

/// Version 2 only: asks for the refs whose names begin with one of `prefixes`.
[[nodiscard]] std::string ls_refs_request(const Advertisement& server,
                                          const std::vector<std::string>& prefixes);

/// Reads one line of the answer to ls-refs.
[[nodiscard]] AdvertisedRef parse_ref_line(std::string_view line);

}  // namespace kms::builder
