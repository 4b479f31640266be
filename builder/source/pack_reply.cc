#include "builder/source/pack_reply.h"

#include <algorithm>

namespace kms::builder {
namespace {

std::string one_line(std::string_view text) {
  std::string line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  return line.substr(0, 300);
}

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

bool PackReply::add(const Packet& packet) {
  if (packet.kind == Packet::Kind::data && packet.payload.starts_with("ERR ")) {
    throw ServerRefusal::of(packet.payload.substr(4));
  }
  if (!in_pack_) {
    add_head(packet);
  } else if (packet.kind == Packet::Kind::flush) {
    complete_ = true;
  } else if (packet.kind == Packet::Kind::data) {
    add_band(packet.payload);
  }
  return !complete_;
}

void PackReply::add_head(const Packet& packet) {
  // Version 2 names its sections; version 0 says NAK where the pack begins, since nothing is in common.
  in_pack_ = packet.kind == Packet::Kind::data && packet.line() == (version_ == 2 ? "packfile" : "NAK");
}

/// gitprotocol-pack(5), "side-band": 1 is the pack, 2 what people may read, 3 the last words.
void PackReply::add_band(std::string_view payload) {
  if (payload.empty()) return;
  const char band = payload.front();
  payload.remove_prefix(1);
  if (band == 1) on_pack_(payload);
  if (band == 3) throw ServerRefusal::of(payload);
}

}  // namespace kms::builder
