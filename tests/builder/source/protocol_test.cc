// Servers' bytes, well formed and not: packets, advertisements and answers.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/source/diagnosis.h"
#include "builder/source/proxy.h"
#include "builder/source/socket.h"
#include "builder/source/upload_pack.h"

namespace {

using namespace kms::builder;
using namespace std::string_literals;

const std::string id_a(40, 'a');
const std::string id_b(40, 'b');

Advertisement v2(const std::string& capabilities) {
  return Advertisement::read(pkt_line("version 2\n") + pkt_line(capabilities + "\n") + "0000");
}

Advertisement v0(const std::string& capabilities) {
  return Advertisement::read(pkt_line(id_a + " HEAD" + std::string(1, '\0') + capabilities + "\n") + "0000");
}

std::vector<std::string> packets(const std::vector<std::string>& pieces) {
  std::vector<std::string> seen;
  PktReader reader;
  for (const std::string& piece : pieces) {
    reader.add(piece, [&](const Packet& packet) {
      seen.emplace_back(packet.kind == Packet::Kind::data ? packet.line() : "<mark>");
      return true;
    });
  }
  CHECK(reader.take_rest().empty());
  return seen;
}

ServerRefusal::Kind refusal(const std::string& text) { return ServerRefusal::of(text).kind(); }

}  // namespace

TEST_CASE("packets are read however the stream is cut") {
  const std::string stream = pkt_line("one\n") + "0000" + pkt_line("two") + "0001" + "0002";
  const std::vector<std::string> expected{"one", "<mark>", "two", "<mark>", "<mark>"};
  CHECK(packets({stream}) == expected);
  std::vector<std::string> bytes;
  for (const char c : stream) bytes.emplace_back(1, c);
  CHECK(packets(bytes) == expected);
}

TEST_CASE("bytes that are not a packet are refused") {
  for (const std::string bad : {"<html>", "0003", "fff1x", "zzzz", "-001", "+001"}) {
    CAPTURE(bad);
    PktReader reader;
    CHECK_THROWS_AS(reader.add(bad, [](const Packet&) { return true; }), kms::Error);
  }
}

TEST_CASE("an advertisement of version 2 names capabilities, with and without HTTP's head") {
  const Advertisement plain = v2("fetch=shallow wait-for-done filter");
  CHECK(plain.version == 2);
  CHECK((plain.filters && plain.shallow && plain.any_object));
  const Advertisement with_head =
      Advertisement::read(pkt_line("# service=git-upload-pack\n") + "0000" + pkt_line("version 2\n") +
                          pkt_line("fetch=shallow\n") + pkt_line("object-format=sha1\n") + "0000");
  CHECK((with_head.version == 2 && !with_head.filters && with_head.object_format));
}

TEST_CASE("an advertisement of version 0 lists refs, tags with what they lead to") {
  const Advertisement server = Advertisement::read(
      pkt_line(
          id_a +
          " HEAD\0multi_ack shallow filter allow-tip-sha1-in-want allow-reachable-sha1-in-want agent=x\n"s) +
      pkt_line(id_a + " refs/tags/t\n") + pkt_line(id_b + " refs/tags/t^{}\n") + "0000");
  CHECK((server.version == 0 && server.filters && server.shallow && server.any_object));
  REQUIRE(server.refs.size() == 2);
  CHECK(git::hex(server.refs[1].target()) == id_b);
}

TEST_CASE("advertisements that are damaged, cut, refusals or of SHA-256 are errors") {
  git::prepare_library();  // it keeps the text of its error
  for (const std::string& bad :
       {""s, pkt_line("version 2\n"), pkt_line("hello\n") + "0000",
        pkt_line("ERR no such repository\n") + "0000",
        pkt_line("version 2\n") + pkt_line("object-format=sha256\n") + "0000",
        pkt_line(std::string(40, 'x') + " HEAD\n") + "0000", pkt_line(id_a) + "0000"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(static_cast<void>(Advertisement::read(bad)), kms::Error);
  }
}

TEST_CASE("requests are whole and in the order that servers ask for") {
  const Wants wants{{parse_id(id_a)}, "tree:0", true};
  CHECK(pack_request(v2("fetch=shallow filter"), wants) ==
        pkt_line("command=fetch\n") + "0001" + pkt_line("no-progress\n") + pkt_line("ofs-delta\n") +
            pkt_line("want " + id_a + "\n") + pkt_line("deepen 1\n") + pkt_line("filter tree:0\n") +
            pkt_line("done\n") + "0000");
}

TEST_CASE("a ref is asked for by its name, and the answer names its object before the pack") {
  const Wants wants{{}, "tree:1", true, "refs/heads/main"};
  const std::string request = pack_request(v2("fetch=shallow filter ref-in-want"), wants);
  CHECK(request.find(pkt_line("ofs-delta\n") + pkt_line("want-ref refs/heads/main\n") +
                     pkt_line("deepen 1\n")) != std::string::npos);
  CHECK(pack_request(v2("fetch=shallow filter"), wants).find("want-ref") == std::string::npos);
  std::string pack;
  PackAnswer reply(v2("fetch=shallow"), "refs/heads/main", [&](std::string_view bytes) { pack += bytes; });
  CHECK(reply.add(pkt_line("wanted-refs\n") + pkt_line(id_a + " refs/heads/main\n") + "0001" +
                  pkt_line("packfile\n")));
  CHECK_FALSE(reply.add(pkt_line("\1PACK") + "0000"));
  CHECK(pack == "PACK");
  REQUIRE(reply.wanted_ref());
  CHECK(git::hex(*reply.wanted_ref()) == id_a);
}

TEST_CASE("an answer with another ref than the wanted one is refused") {
  const auto answer = [](const std::string& wanted, const std::string& lines) {
    PackAnswer reply(v2("fetch=shallow"), wanted, [](std::string_view /*bytes*/) {});
    return reply.add(pkt_line("wanted-refs\n") + lines);
  };
  const std::string main = pkt_line(id_a + " refs/heads/main\n");
  CHECK(answer("refs/heads/main", main));
  CHECK_THROWS_AS(answer("", main), kms::Error);
  CHECK_THROWS_AS(answer("refs/heads/main", main + main), kms::Error);
  CHECK_THROWS_AS(answer("refs/heads/main", pkt_line(id_a + " refs/heads/other\n")), kms::Error);
  CHECK_THROWS_AS(answer("refs/heads/main", pkt_line(id_a + "00 refs/heads/main\n")), kms::Error);
  CHECK_THROWS_AS(answer("refs/heads/main", pkt_line(std::string(40, 'x') + " refs/heads/main\n")),
                  kms::Error);
  CHECK_THROWS_AS(answer("refs/heads/main", pkt_line("no id\n")), kms::Error);
}

TEST_CASE("nothing is asked for that the server did not offer") {
  const Wants wants{{parse_id(id_a)}, "tree:0", true};
  CHECK(pack_request(v0(""), wants) == pkt_line("want " + id_a + "\n") + "0000" + pkt_line("done\n"));
  CHECK(pack_request(
            v0("multi_ack multi_ack_detailed side-band side-band-64k ofs-delta no-progress filter shallow"),
            wants) ==
        pkt_line("want " + id_a + " multi_ack_detailed side-band-64k ofs-delta no-progress filter\n") +
            pkt_line("deepen 1\n") + pkt_line("filter tree:0\n") + "0000" + pkt_line("done\n"));
  CHECK(pack_request(v0("multi_ack side-band thin-pack"), wants) ==
        pkt_line("want " + id_a + " multi_ack side-band\n") + "0000" + pkt_line("done\n"));
}

TEST_CASE("a ref's line is read with what it peels to") {
  const AdvertisedRef ref = parse_ref_line(id_a + " refs/tags/v1 symref-target:x peeled:" + id_b);
  CHECK(ref.name == "refs/tags/v1");
  CHECK(git::hex(ref.target()) == id_b);
  CHECK_THROWS_AS(static_cast<void>(parse_ref_line("unborn HEAD")), kms::Error);
}

TEST_CASE("a pack comes out of the side band, and the server's fatal error ends it") {
  std::string pack;
  PackAnswer reply(v2("fetch=shallow"), "", [&](std::string_view bytes) { pack += bytes; });
  CHECK(
      reply.add(pkt_line("shallow-info\n") + pkt_line("shallow " + id_a) + "0001" + pkt_line("packfile\n")));
  CHECK(reply.add(pkt_line("\1PACK") + pkt_line("\2counting") + pkt_line("\1tail")));
  CHECK_THROWS_WITH_AS(reply.add(pkt_line("\3out of memory\n")), "the server says: out of memory",
                       ServerRefusal);
  CHECK_FALSE(reply.add("0000"));
  CHECK(pack == "PACKtail");
}

TEST_CASE("without a side band the pack follows the NAK as it is") {
  const std::string answer = pkt_line("shallow " + id_a) + "0000" + pkt_line("NAK\n") + "PACK\x01tail 0000";
  for (std::size_t cut = 0; cut < answer.size(); ++cut) {
    std::string pack;
    PackAnswer reply(v0("ofs-delta"), "", [&](std::string_view bytes) { pack += bytes; });
    CHECK(reply.add(answer.substr(0, cut)));
    CHECK(reply.add(answer.substr(cut)));
    CHECK(reply.ends_with_stream());
    CHECK(pack == "PACK\x01tail 0000");
  }
}

TEST_CASE("refusals are told apart by git's words") {
  CHECK(refusal("filter 'combine' not supported") == ServerRefusal::Kind::filter);
  CHECK(refusal("tree filter allows max depth 0, but got 2") == ServerRefusal::Kind::filter);
  CHECK(refusal("upload-pack: not our ref " + id_a) == ServerRefusal::Kind::unknown_object);
  CHECK(refusal("aborting due to possible repository corruption") == ServerRefusal::Kind::other);
}

TEST_CASE("the host and the port of a URL are told apart") {
  CHECK(host_and_port("http://me:secret@proxy:8080/", "80").port == "8080");
  CHECK(host_and_port("http://me:secret@proxy:8080/", "80").host == "proxy");
  CHECK(host_and_port("git://[::1]/x", "9418").host == "::1");
  CHECK(host_and_port("[::1]:99", "80").port == "99");
}

TEST_CASE("a proxy's login is taken out of what a library says of it") {
  CHECK(without_login("invalid URL: 'http://me:pw@'", "http://me:pw@") == "invalid URL: 'http://***@'");
  CHECK(without_login("x me:p@w x", "http://me:p@w@proxy:1") == "x *** x");
  CHECK(without_login("a proxy", "http://proxy:1") == "a proxy");
  CHECK(without_login("syntax of 'http://me:pw'", "http://me:pw") == "syntax of '***'");
}

TEST_CASE("transient failures are distinguished from final ones") {
  for (const char* text :
       {"failed to resolve address for x: Temporary failure", "connect: Connection refused",
        "Connection timed out", "Network is unreachable", "unexpected http status code: 503",
        "unexpected http status code: 429", "the server's answer ends early",
        "the connection was lost: Connection reset by peer"}) {
    CAPTURE(text);
    CHECK(diagnose(0, text).transient);
    CHECK(diagnose(0, text).next_step != "");
  }
  for (const char* text :
       {"unexpected http status code: 401", "unexpected http status code: 404",
        "unexpected http status code: 410", "No space left on device", "cannot find ref 'x'"}) {
    CAPTURE(text);
    CHECK(!diagnose(0, text).transient);
  }
  CHECK(!diagnose(GIT_EAUTH, "what no table knows").transient);
  CHECK(!diagnose(GIT_ECERTIFICATE, "what no table knows").transient);
}

TEST_CASE("every failure of libraries, servers and proxies has a next step") {
  for (const char* text :
       {"invalid content-type: 'text/html'",
        "proxy returned unexpected status: 403",
        "proxy returned unexpected status: 407",
        "proxy returned unexpected status: 502",
        "the server's pack is damaged",
        "the server's pack is not a pack file",
        "cannot fetch a pack: x",
        "cannot read HEAD: object not found",
        "error authenticating: failed connecting with agent",
        "error authenticating: Wrong passphrase or invalid/unrecognized private key file format",
        "error authenticating: Unable to extract public key from private key file",
        "failed to start SSH session: Unable to exchange encryption keys",
        "the server does not take the key of --ssh-key",
        "the server takes none of the keys of the agent and of ~/.ssh",
        "the server sent a malformed id",
        "the server's list of refs does not end",
        "the server's answer is empty",
        "the server says: no",
        "the server's answer is not git's protocol",
        "a text that nobody has seen"}) {
    CAPTURE(text);
    CHECK(diagnose(GIT_ERROR, text).next_step.size() > 20);
  }
  CHECK(diagnose(0, "invalid content-type: 'text/html'").next_step.find("URL of a repository?") !=
        std::string::npos);
}
