#include "builder/source/protocol.h"

#include <array>
#include <charconv>
#include <cstdio>

#include "builder/git/libgit2.h"

namespace kms::builder {
namespace {

constexpr std::size_t max_packet = 65520;

[[noreturn]] void refuse_protocol() {
  throw Error("the server's answer is not git's protocol", "check that --repo is the URL of a repository");
}

/// The packet's length with its four digits.
std::size_t length_of(std::string_view digits) {
  unsigned length = 0;
  const char* end = digits.data() + 4;
  if (std::from_chars(digits.data(), end, length, 16).ptr != end || length == 3 || length > max_packet) {
    refuse_protocol();
  }
  return length;
}

Packet packet_of(std::size_t length, std::string_view bytes) {
  switch (length) {
    case 0:
      return {Packet::Kind::flush, {}};
    case 1:
      return {Packet::Kind::delimiter, {}};
    case 2:
      return {Packet::Kind::response_end, {}};
    default:
      return {Packet::Kind::data, bytes.substr(4, length - 4)};
  }
}

/// Takes the first packet off `bytes`; empty if it is not complete.
std::optional<Packet> take(std::string_view& bytes) {
  if (bytes.size() < 4) return std::nullopt;
  const std::size_t length = length_of(bytes);
  const std::size_t size = length < 4 ? 4 : length;
  if (bytes.size() < size) return std::nullopt;
  const Packet packet = packet_of(length, bytes);
  bytes.remove_prefix(size);
  return packet;
}

bool has_word(std::string_view words, std::string_view word) {
  return (" " + std::string(words) + " ").find(" " + std::string(word) + " ") != std::string::npos;
}

[[noreturn]] void refuse_sha256() {
  throw Error("the repository's ids are SHA-256, which libgit2 cannot read",
              "give a repository with SHA-1 ids");
}

class AdvertisementReader {
 public:
  void add(std::string_view line) {
    if (line.starts_with("ERR ")) throw Error("the server says: " + std::string(line.substr(4)));
    if (line == "version 2") {
      result_.version = 2;
      result_.any_object = true;  // upload-pack serves any object that exists under version 2
    } else if (line == "version 1") {
      return;
    } else if (result_.version == 2) {
      add_capability(line);
    } else {
      add_ref(line);
    }
  }

  Advertisement take() { return std::move(result_); }

 private:
  void add_capability(std::string_view line) {
    if (line.starts_with("fetch=")) {
      result_.filters = has_word(line.substr(6), "filter");
      result_.shallow = has_word(line.substr(6), "shallow");
      result_.refs_by_name = has_word(line.substr(6), "ref-in-want");
    } else if (line == "object-format=sha256") {
      refuse_sha256();
    } else if (line.starts_with("object-format=")) {
      result_.object_format = true;
    }
  }

  void add_capabilities(std::string_view words) {
    if (has_word(words, "object-format=sha256")) refuse_sha256();
    result_.capabilities = words;
    result_.filters = result_.offers("filter");
    result_.shallow = result_.offers("shallow");
    result_.any_object =
        result_.offers("allow-tip-sha1-in-want") && result_.offers("allow-reachable-sha1-in-want");
  }

  void add_ref(std::string_view line) {
    const std::size_t zero = line.find('\0');
    if (zero != std::string_view::npos) {
      add_capabilities(line.substr(zero + 1));
      line = line.substr(0, zero);
    }
    if (line.starts_with("shallow ")) return;
    if (line.size() < 42 || line[40] != ' ') refuse_protocol();
    const git_oid id = parse_id(line.substr(0, 40));
    const std::string_view name = line.substr(41);
    if (name == "capabilities^{}") return;
    if (name.ends_with("^{}") && !result_.refs.empty() &&
        result_.refs.back().name == name.substr(0, name.size() - 3)) {
      result_.refs.back().peeled = id;
    } else {
      result_.refs.push_back({std::string(name), id, std::nullopt});
    }
  }

  Advertisement result_;
};

/// Calls `on_line` for each packet but HTTP's head. True if the final flush was read.
template <class OnLine>
bool read_packets(std::string_view advertisement, OnLine on_line) {
  bool head = false;
  bool complete = false;
  PktReader packets;
  packets.add(advertisement, [&](const Packet& packet) {
    if (packet.kind == Packet::Kind::flush) {
      complete = !std::exchange(head, false);
      return !complete;
    }
    head = packet.line().starts_with("# service=");
    if (!head) on_line(packet.line());
    return true;
  });
  return complete;
}

std::string command(const Advertisement& server, const std::string& name) {
  std::string text = pkt_line("command=" + name + "\n");
  if (server.object_format) text += pkt_line("object-format=sha1\n");
  return text.append(delimiter_packet);
}

std::string depth_and_filter(const Advertisement& server, const Wants& wants) {
  std::string text;
  if (wants.shallow && server.shallow) text += pkt_line("deepen 1\n");
  if (!wants.filter.empty() && server.filters) text += pkt_line("filter " + wants.filter + "\n");
  return text;
}

std::string fetch_v2(const Advertisement& server, const Wants& wants) {
  std::string text = command(server, "fetch") + pkt_line("no-progress\n") + pkt_line("ofs-delta\n");
  for (const git_oid& id : wants.ids) text += pkt_line("want " + git::hex(id) + "\n");
  if (!wants.ref.empty() && server.refs_by_name) text += pkt_line("want-ref " + wants.ref + "\n");
  text += depth_and_filter(server, wants) + pkt_line("done\n");
  return text.append(flush_packet);
}

/// multi_ack says nothing here, since no commit is in common, but some servers refuse clients without it.
std::string v0_capabilities(const Advertisement& server, const Wants& wants) {
  std::string words;
  const auto use_first_of = [&](std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
      if (server.offers(name)) return void(words.append(" ").append(name));
    }
  };
  use_first_of({"multi_ack_detailed", "multi_ack"});
  use_first_of({"side-band-64k", "side-band"});
  use_first_of({"ofs-delta"});
  use_first_of({"no-progress"});
  if (!wants.filter.empty()) use_first_of({"filter"});
  return words;
}

std::string fetch_v0(const Advertisement& server, const Wants& wants) {
  std::string text;
  std::string capabilities = v0_capabilities(server, wants);
  for (const git_oid& id : wants.ids) {
    text += pkt_line("want " + git::hex(id) + std::exchange(capabilities, {}) + "\n");
  }
  text += depth_and_filter(server, wants);
  return text.append(flush_packet) + pkt_line("done\n");
}

}  // namespace

std::string pkt_line(std::string_view payload) {
  std::array<char, 5> digits{};
  std::snprintf(digits.data(), digits.size(), "%04zx", payload.size() + 4);
  return digits.data() + std::string(payload);
}

std::string_view Packet::line() const {
  std::string_view text = payload;
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

void PktReader::add(std::string_view bytes, const std::function<bool(const Packet&)>& on_packet) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::exchange(pending_, {}).append(bytes);
    bytes = joined;
  }
  while (const auto packet = take(bytes)) {
    if (!on_packet(*packet)) break;
  }
  pending_ = bytes;
}

bool Advertisement::offers(std::string_view capability) const { return has_word(capabilities, capability); }

bool Advertisement::has_side_band() const {
  return version == 2 || offers("side-band-64k") || offers("side-band");
}

Advertisement Advertisement::read(std::string_view text) {
  AdvertisementReader reader;
  if (!read_packets(text, [&](std::string_view line) { reader.add(line); })) {
    throw Error("the server's answer ends early", "try again; check the network and a proxy");
  }
  return reader.take();
}

bool AdvertisementEnd::add(std::string_view bytes) {
  size_ += bytes.size();
  if (size_ > max_advertisement) throw Error("the server's list of refs does not end");
  bool complete = false;
  packets_.add(bytes, [&](const Packet& packet) {
    const bool flush = packet.kind == Packet::Kind::flush;
    complete = flush && !head_;
    head_ = !flush && packet.line().starts_with("# service=");
    return !complete;
  });
  return complete;
}

git_oid parse_id(std::string_view hex) {
  git_oid id{};
  // Checked here: libgit2 may not be set up yet, and could not keep its error then.
  const bool is_hex = hex.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  if (hex.size() != 40 || !is_hex || git_oid_fromstrn(&id, hex.data(), 40) < 0) {
    throw Error("the server sent a malformed id");
  }
  return id;
}

std::string pack_request(const Advertisement& server, const Wants& wants) {
  return server.version == 2 ? fetch_v2(server, wants) : fetch_v0(server, wants);
}

std::string ls_refs_request(const Advertisement& server, const std::vector<std::string>& prefixes) {
  std::string text = command(server, "ls-refs") + pkt_line("peel\n");
  for (const std::string& prefix : prefixes) text += pkt_line("ref-prefix " + prefix + "\n");
  return text.append(flush_packet);
}

AdvertisedRef parse_ref_line(std::string_view line) {
  const std::size_t end = line.find(' ', 41);
  AdvertisedRef ref{std::string(line.size() > 41 ? line.substr(41, end - 41) : ""),
                    parse_id(line.substr(0, 40)), std::nullopt};
  constexpr std::string_view mark = " peeled:";
  const std::size_t at = line.find(mark);
  if (at != std::string_view::npos) ref.peeled = parse_id(line.substr(at + mark.size(), 40));
  return ref;
}

}  // namespace kms::builder
