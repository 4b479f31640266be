// The readers of a git server's answers take any bytes: packets, greetings, refs, answers and packs. They
// read the same wherever the stream is cut, and refuse the rest by an Error on one line.
#include <functional>
#include <string>

#include "builder/source/packs.h"
#include "builder/source/protocol.h"
#include "builder/source/upload_pack.h"
#include "tests/fuzz/input.h"

namespace {

using namespace kms::builder;

/// Calls `read` with the two parts of `bytes`; "" or the cause of its refusal.
std::string outcome(std::string_view bytes, std::size_t cut,
                    const std::function<void(std::string_view)>& read) {
  try {
    read(bytes.substr(0, cut));
    read(bytes.substr(cut));
  } catch (const kms::Error& error) {
    kms::fuzz::expect_good(error);
    return error.what();
  }
  return "";
}

/// All that the packets of a stream say, and how it ended.
std::string packets(std::string_view bytes, std::size_t cut) {
  std::string said;
  PktReader reader;
  const std::string end = outcome(bytes, cut, [&](std::string_view part) {
    reader.add(part, [&](const Packet& packet) {
      kms::fuzz::expect(packet.payload.size() <= 65516, "a packet has at most 65,516 bytes");
      said += std::to_string(static_cast<int>(packet.kind)) + std::string(packet.line()) + "\n";
      return true;
    });
  });
  return said + end;
}

std::string pack_of(int version, const char* capabilities, std::string_view bytes, std::size_t cut) {
  std::string pack;
  Advertisement server;
  server.version = version;
  server.capabilities = capabilities;
  PackAnswer reply(server, "", [&](std::string_view part) { pack += part; });
  bool more = true;
  const std::string end = outcome(bytes, cut, [&](std::string_view part) { more = more && reply.add(part); });
  return pack + end;
}

std::string inspected(std::string_view bytes, std::size_t cut) {
  PackInspector inspector(1'000'000);
  return outcome(bytes, cut, [&](std::string_view part) { inspector.add(part); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes = kms::fuzz::text_of_input(data + 1, size - 1);
  const std::size_t cut = data[0] % (bytes.size() + 1);
  kms::fuzz::expect(packets(bytes, cut) == packets(bytes, 0), "packets are read however the stream is cut");
  kms::fuzz::expect(inspected(bytes, cut) == inspected(bytes, 0), "a pack is judged however it is cut");
  for (const int version : {0, 2})
    for (const char* capabilities : {"", "side-band-64k"})
      kms::fuzz::expect(
          pack_of(version, capabilities, bytes, cut) == pack_of(version, capabilities, bytes, 0),
          "an answer is read however it is cut");
  (void)outcome(bytes, 0, [](std::string_view part) { (void)Advertisement::read(part); });
  (void)outcome(bytes, 0, [](std::string_view part) { (void)parse_ref_line(part); });
  return 0;
}
