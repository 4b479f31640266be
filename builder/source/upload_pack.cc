#include "builder/source/upload_pack.h"

#include <array>

#include "common/log/log.h"

namespace kms::builder {
namespace {

std::string one_line(std::string_view text) {
  constexpr std::size_t max = 300;
  const std::size_t end = text.find_last_not_of("\n ") + 1;
  return without_controls(text.substr(0, end), ' ').substr(0, max);
}

/// The answer to ls-refs, up to `max_bytes`.
class RefList final : public Answer {
 public:
  explicit RefList(std::size_t max_bytes) : left_(max_bytes) {}

  bool add(std::string_view bytes) override {
    bool more = true;
    packets_.add(bytes, [&](const Packet& packet) { return more = add_packet(packet); });
    return more;
  }

  [[nodiscard]] bool is_cut() const { return cut_; }
  [[nodiscard]] std::vector<AdvertisedRef> take() { return std::move(refs_); }

 private:
  bool add_packet(const Packet& packet) {
    if (packet.kind != Packet::Kind::data) return false;
    if (packet.payload.starts_with("ERR ")) throw ServerRefusal::of(packet.payload.substr(4));
    refs_.push_back(parse_ref_line(packet.line()));
    cut_ = packet.payload.size() > left_;
    left_ -= std::min(left_, packet.payload.size());
    return !cut_;
  }

  PktReader packets_;
  std::vector<AdvertisedRef> refs_;
  std::size_t left_;
  bool cut_ = false;
};

}  // namespace

ServerRefusal ServerRefusal::of(std::string_view text) {
  const std::string line = one_line(text);
  Kind kind = Kind::other;
  if (line.find("filter") != std::string::npos) kind = Kind::filter;
  if (line.find("not our ref") != std::string::npos ||
      line.find("unadvertised object") != std::string::npos) {
    kind = Kind::unknown_object;
  }
  return {kind, "the server says: " + line};
}

bool PackAnswer::add(std::string_view bytes) {
  if (ends_with_stream()) {
    on_pack_(bytes);
    return true;
  }
  packets_.add(bytes, [this](const Packet& packet) { return add_packet(packet); });
  if (ends_with_stream()) on_pack_(packets_.take_rest());
  return !complete_;
}

/// False after the last packet.
bool PackAnswer::add_packet(const Packet& packet) {
  if (packet.kind == Packet::Kind::data && packet.payload.starts_with("ERR ")) {
    throw ServerRefusal::of(packet.payload.substr(4));
  }
  if (in_pack_) {
    if (packet.kind == Packet::Kind::data) add_band(packet.payload);
    complete_ = packet.kind == Packet::Kind::flush;
  } else {
    // Version 2 names its sections. Version 0 says NAK before the pack, since no commit is in common.
    const bool is_line = packet.kind == Packet::Kind::data;
    if (is_line && in_wanted_refs_) add_wanted_ref(packet.line());
    in_wanted_refs_ = is_line && version_ == 2 && (in_wanted_refs_ || packet.line() == "wanted-refs");
    in_pack_ = is_line && packet.line() == (version_ == 2 ? "packfile" : "NAK");
  }
  return !complete_ && !ends_with_stream();
}

/// gitprotocol-v2(5), "wanted-refs": an id and the name, for each name that was asked for.
void PackAnswer::add_wanted_ref(std::string_view line) {
  constexpr std::size_t id_size = 40;
  if (ref_.empty() || wanted_ref_ || line.size() <= id_size || line.substr(id_size) != " " + ref_)
    throw Error("the server sent another ref than it was asked for");
  wanted_ref_ = parse_id(line.substr(0, id_size));
}

/// gitprotocol-pack(5), "side-band": 1 is the pack, 2 progress for people, 3 a fatal error.
void PackAnswer::add_band(std::string_view payload) {
  if (payload.empty()) return;
  const char band = payload.front();
  payload.remove_prefix(1);
  if (band == 1) on_pack_(payload);
  if (band == 3) throw ServerRefusal::of(payload);
}

const Advertisement& UploadPack::advertisement() {
  if (!server_) connect();
  return *server_;
}

void UploadPack::connect() {
  connected_ = false;
  ++meter_.requests;
  Advertisement server = Advertisement::read(transport_.connect());
  if (server_) server.refs = std::move(server_->refs);  // one list for the whole fetch, though refs may move
  server_ = std::move(server);
  connected_ = true;
}

std::vector<AdvertisedRef> UploadPack::refs(const std::vector<std::string>& prefixes, std::size_t max_bytes) {
  if (advertisement().version != 2) return advertisement().refs;
  RefList list(max_bytes);
  ask(ls_refs_request(advertisement(), prefixes), list);
  if (list.is_cut()) connected_ = false;
  return list.take();
}

std::optional<git_oid> UploadPack::fetch(const Wants& wants,
                                         const std::function<void(std::string_view)>& on_pack) {
  const bool stays_connected = advertisement().version == 2 || transport_.stateless();
  PackAnswer reply(advertisement(), wants.ref, on_pack);
  ask(pack_request(advertisement(), wants), reply);
  if (!stays_connected) connected_ = false;  // version 0 ends its connection with the pack
  return reply.wanted_ref();
}

void UploadPack::ask(const std::string& request, Answer& answer) {
  if (!connected_) connect();
  std::uint64_t before = meter_.bytes;
  try {
    if (exchange(request, answer) > 0) return;
  } catch (const ServerRefusal&) {
    connected_ = false;  // the rest of the answer is not read
    throw;
  } catch (const Error&) {
    connected_ = false;
    if (meter_.bytes != before || meter_.cancelled) throw;
    log::debug("the kept connection is lost, connecting again");
    connect();
    before = meter_.bytes;
    if (exchange(request, answer) > 0) return;
  }
  connected_ = false;
  throw ServerRefusal(ServerRefusal::Kind::empty, "the server's answer is empty");
}

/// Returns the size of the answer.
std::size_t UploadPack::exchange(const std::string& request, Answer& answer) {
  ++meter_.requests;
  transport_.send(request);
  std::array<char, 65536> buffer{};
  std::size_t total = 0;
  bool more = true;
  while (more || transport_.stateless()) {  // an http body is read to its end, or its connection is lost
    const std::size_t n = transport_.receive(buffer.data(), buffer.size());
    if (n == 0) break;
    total += n;
    if (meter_.bytes > meter_.max_bytes) {
      throw Error("the server sends more than " + std::to_string(meter_.max_bytes) + " bytes",
                  "give narrower --path options, or raise --max-bytes");
    }
    if (more) more = answer.add({buffer.data(), n});
  }
  if (more && !answer.ends_with_stream() && (total > 0 || !transport_.stateless())) {
    throw Error("the server's answer ends early", "try again; check the network and a proxy");
  }
  return total;
}

}  // namespace kms::builder
