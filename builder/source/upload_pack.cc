#include "builder/source/upload_pack.h"

#include <array>

#include "common/log/log.h"

namespace kms::builder {

const ServerOffer& UploadPack::offer() {
  if (!offer_) connect();
  return *offer_;
}

void UploadPack::connect() {
  connected_ = false;
  ++meter_.requests;
  ServerOffer offer = ServerOffer::read(wire_.connect());
  if (offer_) offer.refs = std::move(offer_->refs);  // one list for the whole fetch, though refs may move
  offer_ = std::move(offer);
  connected_ = true;
}

std::vector<AdvertisedRef> UploadPack::refs(const std::vector<std::string>& prefixes, std::size_t max_bytes) {
  if (offer().version != 2) return offer().refs;
  std::vector<AdvertisedRef> refs;
  std::size_t bytes = 0;
  bool cut = false;
  ask(ls_refs_request(offer(), prefixes), [&](const Packet& packet) {
    if (packet.kind != Packet::Kind::data) return false;
    if (packet.payload.starts_with("ERR ")) throw ServerRefusal::of(packet.payload.substr(4));
    refs.push_back(parse_ref_line(packet.line()));
    bytes += packet.payload.size();
    cut = bytes > max_bytes;
    return !cut;
  });
  if (cut) connected_ = false;
  return refs;
}

void UploadPack::fetch(const Wants& wants, const std::function<void(std::string_view)>& on_pack) {
  const bool keeps_on = offer().version == 2 || wire_.stateless();
  PackReply reply(offer().version, on_pack);
  ask(pack_request(offer(), wants), [&](const Packet& packet) { return reply.add(packet); });
  if (!keeps_on) connected_ = false;  // version 0 ends its connection with the pack
}

void UploadPack::ask(const std::string& request, const std::function<bool(const Packet&)>& on_packet) {
  if (!connected_) connect();
  std::uint64_t before = meter_.bytes;
  try {
    if (exchange(request, on_packet) > 0) return;
  } catch (const ServerRefusal&) {
    connected_ = false;  // what is left of the answer is not read
    throw;
  } catch (const Error&) {
    connected_ = false;
    if (meter_.bytes != before || meter_.cancelled) throw;
    log::debug("the connection that was kept is gone, and is made anew");
    connect();
    before = meter_.bytes;
    if (exchange(request, on_packet) > 0) return;
  }
  connected_ = false;
  throw ServerRefusal(ServerRefusal::Kind::empty, "the server's answer is empty");
}

/// Returns how many bytes the answer had.
std::size_t UploadPack::exchange(const std::string& request,
                                 const std::function<bool(const Packet&)>& on_packet) {
  ++meter_.requests;
  wire_.send(request);
  std::array<char, 65536> buffer{};
  PktReader packets;
  std::size_t total = 0;
  bool more = true;
  while (more || wire_.stateless()) {  // an http body is read to its end, or its connection is lost
    const std::size_t n = wire_.receive(buffer.data(), buffer.size());
    if (n == 0) break;
    total += n;
    if (meter_.bytes > meter_.max_bytes) {
      throw Error("the server sends more than " + std::to_string(meter_.max_bytes) + " bytes",
                  "give narrower --path options, or raise --max-bytes");
    }
    if (!more) continue;
    packets.feed({buffer.data(), n}, [&](const Packet& packet) { return more = on_packet(packet); });
  }
  if (more && (total > 0 || !wire_.stateless())) {
    throw Error("the server's answer ends early", "try again; check the network and a proxy");
  }
  return total;
}

}  // namespace kms::builder
