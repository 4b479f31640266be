// PackInspector looks through a pack as it arrives, before libgit2 does, and ends one that would cost too
// much.
//
// Used on the fetching thread; one per pack. libgit2's indexer believes what a pack says of itself: it
// allocates by the number of objects and by the size of what a delta makes, and a few kilobytes can claim
// terabytes. Here every object is inflated into a small buffer and counted, and nothing of it is kept; what
// is between the lines (ids, bases, the pack's digest) is left to libgit2. Format: gitformat-pack(5).
#pragma once

#define ZLIB_CONST  // inflate() does not write to its input
#include <zlib.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

class PackInspector {
 public:
  static constexpr std::uint32_t max_objects = 8'000'000;  ///< ten times what Kubernetes' whole history has
  static constexpr std::uint32_t deepest_chain = 4096;     ///< of deltas; git itself makes no deeper ones

  /// `max_bytes` is what all objects may have together when unpacked, deltas and what they make alike.
  explicit PackInspector(std::uint64_t max_bytes);
  PackInspector(const PackInspector&) = delete;
  PackInspector& operator=(const PackInspector&) = delete;
  ~PackInspector();

  /// The next bytes of the pack. Throws Error for what is too much, lies about its size or is no pack.
  void add(std::string_view bytes);

 private:
  enum class At { pack_header, object_header, base_offset, base_id, body, trailer };

  void add_pack_header(unsigned char byte);
  void add_object_header(unsigned char byte);
  void add_base_offset(unsigned char byte);
  void begin_body();
  std::size_t inflate_some(std::string_view bytes);
  void end_object();
  void count_result();
  void count(std::uint64_t size);
  [[nodiscard]] std::uint32_t depth_of_base() const;
  void check_chains() const;

  /// What an object began with, for the deltas that refer to it by its place.
  struct Place {
    std::uint64_t offset;
    std::uint32_t depth;
  };

  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;   ///< unpacked so far
  std::uint64_t offset_ = 0;  ///< of the next byte
  At at_ = At::pack_header;
  std::string header_;      ///< of the pack, or of a base's id, as far as it has come
  std::uint32_t left_ = 0;  ///< objects
  unsigned type_ = 0;       ///< of the object
  unsigned shift_ = 0;      ///< of the next bits of its size
  std::uint64_t size_ = 0;  ///< that it says it has
  std::uint64_t inflated_ = 0;
  std::uint64_t distance_ = 0;   ///< to its base
  std::uint64_t id_deltas_ = 0;  ///< that name their base by its id
  std::uint32_t deepest_ = 0;    ///< chain of the others
  std::string delta_head_;       ///< the first bytes of a delta: the sizes of its base and of its result
  std::vector<Place> places_;
  z_stream zlib_{};
};

}  // namespace kms::builder
