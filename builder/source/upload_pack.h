// UploadPack holds the conversation with git-upload-pack over any Transport: the advertisement, then
// requests.
//
// Used on the fetching thread. It connects at the first request and whenever the connection is used up. If a
// kept connection turns out to be lost, it connects and asks once more.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "builder/source/fetch.h"
#include "builder/source/protocol.h"
#include "builder/source/transport.h"

namespace kms::builder {

/// The server understood the request and does not serve it.
class ServerRefusal : public Error {
 public:
  enum class Kind {
    filter,          ///< it does not leave out the objects that it was asked to leave out
    unknown_object,  ///< it does not have, or does not give, an object by its id
    empty,           ///< it said nothing at all, as servers do that do not know a word of the request
    other
  };
  ServerRefusal(Kind kind, const std::string& text) : Error(text), kind_(kind) {}

  /// Classifies the words of git's upload-pack (upload-pack.c, list-objects-filter-options.c).
  [[nodiscard]] static ServerRefusal of(std::string_view text);

  [[nodiscard]] Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

/// Reads the server's answer to one request.
class Answer {
 public:
  virtual ~Answer() = default;

  /// True until the answer is complete. Throws ServerRefusal, Error.
  virtual bool add(std::string_view bytes) = 0;

  /// True if only the end of the stream ends the answer.
  [[nodiscard]] virtual bool ends_with_stream() const { return false; }
};

/// Reads the answer to a pack request and passes the pack's bytes on. It keeps none.
class PackAnswer final : public Answer {
 public:
  /// `ref` is Wants::ref.
  PackAnswer(const Advertisement& server, std::string ref, std::function<void(std::string_view)> on_pack)
      : version_(server.version),
        side_band_(server.has_side_band()),
        ref_(std::move(ref)),
        on_pack_(std::move(on_pack)) {}

  bool add(std::string_view bytes) override;
  [[nodiscard]] bool ends_with_stream() const override { return in_pack_ && !side_band_; }

  /// The object of Wants::ref, if the server has named it.
  [[nodiscard]] const std::optional<git_oid>& wanted_ref() const { return wanted_ref_; }

 private:
  bool add_packet(const Packet& packet);
  void add_wanted_ref(std::string_view line);
  void add_band(std::string_view payload);

  int version_;
  bool side_band_;
  std::string ref_;
  std::function<void(std::string_view)> on_pack_;
  PktReader packets_;
  std::optional<git_oid> wanted_ref_;
  bool in_wanted_refs_ = false;
  bool in_pack_ = false;
  bool complete_ = false;
};

class UploadPack {
 public:
  UploadPack(Transport& transport, FetchMeter& meter) : transport_(transport), meter_(meter) {}

  /// The server's capabilities. Throws Error if it cannot be reached.
  const Advertisement& advertisement();

  /// The refs whose names begin with one of `prefixes` (under version 0 all), as many as fit into
  /// `max_bytes`.
  [[nodiscard]] std::vector<AdvertisedRef> refs(const std::vector<std::string>& prefixes,
                                                std::size_t max_bytes);

  /// Asks for a pack and gives its bytes to `on_pack`. Returns the object of Wants::ref. Throws
  /// ServerRefusal, Error.
  std::optional<git_oid> fetch(const Wants& wants, const std::function<void(std::string_view)>& on_pack);

 private:
  void connect();
  void ask(const std::string& request, Answer& answer);
  std::size_t exchange(const std::string& request, Answer& answer);

  Transport& transport_;
  FetchMeter& meter_;
  std::optional<Advertisement> server_;
  bool connected_ = false;
};

}  // namespace kms::builder
