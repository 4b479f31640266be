#include "builder/source/server_offer.h"

#include "builder/source/pkt_line.h"
#include "common/error.h"

namespace kms::builder {
namespace {

bool has_word(std::string_view words, std::string_view word) {
  return (" " + std::string(words) + " ").find(" " + std::string(word) + " ") != std::string::npos;
}

[[noreturn]] void refuse_sha256() {
  throw Error("the repository's ids are SHA-256, which libgit2 cannot read",
              "give a repository with SHA-1 ids");
}

class Reader {
 public:
  /// One packet's line of the advertisement.
  void add(std::string_view line) {
    if (line.starts_with("ERR ")) throw Error("the server says: " + std::string(line.substr(4)));
    if (line == "version 2") {
      offer_.version = 2;
      offer_.any_object = true;  // upload-pack serves any object that exists under version 2
      offer_.peel = true;
    } else if (line == "version 1") {
      return;
    } else if (offer_.version == 2) {
      add_ability(line);
    } else {
      add_ref(line);
    }
  }

  ServerOffer take() { return std::move(offer_); }

 private:
  void add_ability(std::string_view line) {
    if (line.starts_with("fetch=")) {
      offer_.filters = has_word(line.substr(6), "filter");
      offer_.shallow = has_word(line.substr(6), "shallow");
    } else if (line == "object-format=sha256") {
      refuse_sha256();
    } else if (line.starts_with("object-format=")) {
      offer_.object_format = true;
    }
  }

  void add_ref(std::string_view line) {
    const std::size_t zero = line.find('\0');
    if (zero != std::string_view::npos) {
      const std::string_view words = line.substr(zero + 1);
      if (has_word(words, "object-format=sha256")) refuse_sha256();
      offer_.filters = has_word(words, "filter");
      offer_.shallow = has_word(words, "shallow");
      offer_.any_object =
          has_word(words, "allow-tip-sha1-in-want") && has_word(words, "allow-reachable-sha1-in-want");
      line = line.substr(0, zero);
    }
    if (line.starts_with("shallow ")) return;
    if (line.size() < 42 || line[40] != ' ') {
      throw Error("the server's answer is not git's protocol", "check the path in --repo");
    }
    const git_oid id = parse_id(line.substr(0, 40));
    const std::string_view name = line.substr(41);
    if (name == "capabilities^{}") return;
    if (name.ends_with("^{}") && !offer_.refs.empty() &&
        offer_.refs.back().name == name.substr(0, name.size() - 3)) {
      offer_.refs.back().peeled = id;
    } else {
      offer_.refs.push_back({std::string(name), id, std::nullopt});
    }
  }

  ServerOffer offer_;
};

/// Calls `on_line` for each packet but HTTP's head; true where the flush that ends it was met.
template <class OnLine>
bool read_packets(std::string_view advertisement, OnLine on_line) {
  bool head = false;
  bool complete = false;
  PktReader packets;
  packets.feed(advertisement, [&](const Packet& packet) {
    if (packet.kind == Packet::Kind::flush) {
      complete = !std::exchange(head, false);
      return !complete;
    }
    if (packet.line().starts_with("# service=")) {
      head = true;
    } else {
      head = false;
      on_line(packet.line());
    }
    return true;
  });
  return complete;
}

}  // namespace

git_oid parse_id(std::string_view hex) {
  git_oid id{};
  if (hex.size() != 40 || git_oid_fromstrn(&id, hex.data(), 40) < 0) {
    throw Error("the server sent an id that is none");
  }
  return id;
}

bool AdvertisementEnd::add(std::string_view bytes) {
  size_ += bytes.size();
  if (size_ > max_advertisement) throw Error("the server's list of refs does not end");
  bool complete = false;
  packets_.feed(bytes, [&](const Packet& packet) {
    const bool flush = packet.kind == Packet::Kind::flush;
    complete = flush && !head_;
    head_ = !flush && packet.line().starts_with("# service=");
    return !complete;
  });
  return complete;
}

ServerOffer ServerOffer::read(std::string_view advertisement) {
  Reader reader;
  if (!read_packets(advertisement, [&](std::string_view line) { reader.add(line); })) {
    throw Error("the server's answer ends early", "try again; check the network and a proxy");
  }
  return reader.take();
}

}  // namespace kms::builder
