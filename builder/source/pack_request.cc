#include "builder/source/pack_request.h"

#include "builder/git/libgit2.h"
#include "builder/source/pkt_line.h"

namespace kms::builder {
namespace {

std::string command(const ServerOffer& offer, const std::string& name) {
  std::string text = pkt_line("command=" + name + "\n");
  if (offer.object_format) text += pkt_line("object-format=sha1\n");
  return text.append(delimiter_packet);
}

std::string depth_and_filter(const ServerOffer& offer, const Wants& wants) {
  std::string text;
  if (wants.shallow && offer.shallow) text += pkt_line("deepen 1\n");
  if (!wants.filter.empty()) text += pkt_line("filter " + wants.filter + "\n");
  return text;
}

std::string fetch_v2(const ServerOffer& offer, const Wants& wants) {
  std::string text = command(offer, "fetch") + pkt_line("no-progress\n") + pkt_line("ofs-delta\n");
  for (const git_oid& id : wants.ids) text += pkt_line("want " + git::hex(id) + "\n");
  text += depth_and_filter(offer, wants) + pkt_line("done\n");
  return text.append(flush_packet);
}

std::string fetch_v0(const ServerOffer& offer, const Wants& wants) {
  std::string text;
  std::string abilities = " side-band-64k ofs-delta no-progress";
  if (!wants.filter.empty()) abilities += " filter";
  for (const git_oid& id : wants.ids) {
    text += pkt_line("want " + git::hex(id) + std::exchange(abilities, {}) + "\n");
  }
  text += depth_and_filter(offer, wants);
  return text.append(flush_packet) + pkt_line("done\n");
}

}  // namespace

std::string ls_refs_request(const ServerOffer& offer, const std::vector<std::string>& prefixes) {
  std::string text = command(offer, "ls-refs") + pkt_line("peel\n");
  for (const std::string& prefix : prefixes) text += pkt_line("ref-prefix " + prefix + "\n");
  return text.append(flush_packet);
}

std::string pack_request(const ServerOffer& offer, const Wants& wants) {
  return offer.version == 2 ? fetch_v2(offer, wants) : fetch_v0(offer, wants);
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
