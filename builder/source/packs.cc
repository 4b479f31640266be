#include "builder/source/packs.h"

#include <algorithm>

namespace kms::builder {
namespace {

constexpr unsigned offset_delta = 6;
constexpr unsigned id_delta = 7;
constexpr std::size_t id_bytes = 20;
constexpr std::size_t pack_header_bytes = 12;
constexpr std::size_t delta_head_bytes = 20;  ///< two sizes of at most ten bytes

[[noreturn]] void refuse(const std::string& why) { throw Error("the server's pack " + why); }

bool is_delta(unsigned type) { return type == offset_delta || type == id_delta; }

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

/// Takes a size of seven bits a byte, the lowest first.
std::uint64_t take_size(std::string_view& bytes) {
  std::uint64_t size = 0;
  for (unsigned shift = 0; shift < 63; shift += 7) {
    if (bytes.empty()) break;
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    size |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return size;
  }
  refuse("holds a malformed delta");
}

}  // namespace

PackInspector::PackInspector(std::uint64_t max_bytes) : max_bytes_(max_bytes) {
  if (inflateInit(&zlib_) != Z_OK) throw Error("cannot set zlib up");
}

PackInspector::~PackInspector() { inflateEnd(&zlib_); }

void PackInspector::add(std::string_view bytes) {
  while (!bytes.empty()) {
    std::size_t used = 1;
    const auto byte = static_cast<unsigned char>(bytes.front());
    switch (at_) {
      case At::pack_header:
        add_pack_header(byte);
        break;
      case At::object_header:
        add_object_header(byte);
        break;
      case At::base_offset:
        add_base_offset(byte);
        break;
      case At::base_id:
        header_ += bytes.front();
        if (header_.size() == id_bytes) begin_body();
        break;
      case At::body:
        used = inflate_some(bytes);
        break;
      case At::trailer:
        header_ += bytes.front();
        if (header_.size() > id_bytes) refuse("goes on after its end");
        break;
    }
    offset_ += used;
    bytes.remove_prefix(used);
  }
}

bool PackInspector::complete() const { return at_ == At::trailer && header_.size() == id_bytes; }

void PackInspector::add_pack_header(unsigned char byte) {
  header_ += static_cast<char>(byte);
  if (header_.size() < pack_header_bytes) return;
  if (!header_.starts_with("PACK")) refuse("is not a pack file");
  left_ = big_endian(std::string_view(header_).substr(8));
  if (left_ > max_objects)
    refuse("has " + std::to_string(left_) + " objects; the maximum is " + std::to_string(max_objects));
  header_.clear();
  at_ = left_ == 0 ? At::trailer : At::object_header;
}

/// Three bits of type, then the size: four bits, and seven in each further byte.
void PackInspector::add_object_header(unsigned char byte) {
  if (shift_ == 0) {
    places_.push_back({offset_, 0});
    type_ = byte >> 4 & 7U;
    size_ = byte & 0x0FU;
    shift_ = 4;
  } else {
    if (shift_ > 56) refuse("holds an object of an impossible size");
    size_ |= static_cast<std::uint64_t>(byte & 0x7F) << shift_;
    shift_ += 7;
  }
  if ((byte & 0x80) != 0) return;
  shift_ = 0;
  count(size_);
  header_.clear();
  distance_ = 0;
  if (type_ == offset_delta) {
    at_ = At::base_offset;
  } else if (type_ == id_delta) {
    ++id_deltas_;
    check_chains();
    at_ = At::base_id;
  } else {
    begin_body();
  }
}

/// Seven bits a byte, the highest first, and one more for each further byte.
void PackInspector::add_base_offset(unsigned char byte) {
  if (distance_ >> 56 != 0) refuse("holds a delta of an impossible base");
  distance_ = (header_.empty() ? 0 : (distance_ + 1) << 7) | (byte & 0x7FU);
  header_ += static_cast<char>(byte);
  if ((byte & 0x80) != 0) return;
  places_.back().depth = depth_of_base() + 1;
  deepest_ = std::max(deepest_, places_.back().depth);
  check_chains();
  begin_body();
}

/// A delta that names its base by an id may build on any other. At worst all of them are one chain, with the
/// deepest chain of the others between each two.
void PackInspector::check_chains() const {
  if ((id_deltas_ + 1) * (std::uint64_t{deepest_} + 1) - 1 > max_chain)
    refuse("holds a chain of more than " + std::to_string(max_chain) + " deltas");
}

std::uint32_t PackInspector::depth_of_base() const {
  const std::uint64_t own = places_.back().offset;
  const std::uint64_t wanted = distance_ < own ? own - distance_ : 0;
  const auto found =
      std::lower_bound(places_.begin(), places_.end(), wanted,
                       [](const Place& place, std::uint64_t offset) { return place.offset < offset; });
  if (distance_ == 0 || found == places_.end() || found->offset != wanted)
    refuse("holds a delta without its base");
  return found->depth;
}

void PackInspector::begin_body() {
  inflateReset(&zlib_);
  inflated_ = 0;
  delta_head_.clear();
  header_.clear();
  at_ = At::body;
}

/// Returns how many bytes belonged to the object.
std::size_t PackInspector::inflate_some(std::string_view bytes) {
  std::array<unsigned char, 16384> buffer{};
  const std::size_t given = std::min<std::size_t>(bytes.size(), 1U << 30);
  zlib_.next_in = reinterpret_cast<const unsigned char*>(bytes.data());
  zlib_.avail_in = static_cast<unsigned>(given);
  for (;;) {
    zlib_.next_out = buffer.data();
    zlib_.avail_out = buffer.size();
    const int code = inflate(&zlib_, Z_NO_FLUSH);
    const std::size_t made = buffer.size() - zlib_.avail_out;
    inflated_ += made;
    if (inflated_ > size_) refuse("holds an object that is larger than it says");
    if (is_delta(type_) && delta_head_.size() < delta_head_bytes) {
      delta_head_.append(reinterpret_cast<const char*>(buffer.data()),
                         std::min(made, delta_head_bytes - delta_head_.size()));
    }
    if (code == Z_STREAM_END) {
      end_object();
      break;
    }
    if (code != Z_OK && code != Z_BUF_ERROR) refuse("is damaged");
    if (zlib_.avail_out != 0) break;  // the input is used up
  }
  return given - zlib_.avail_in;
}

void PackInspector::end_object() {
  if (inflated_ != size_) refuse("holds an object that is smaller than it says");
  if (is_delta(type_)) count_result();
  at_ = --left_ == 0 ? At::trailer : At::object_header;
}

void PackInspector::count_result() {
  std::string_view head = delta_head_;
  take_size(head);
  count(take_size(head));
}

void PackInspector::count(std::uint64_t size) {
  if (size > max_bytes_ - bytes_) {
    throw Error("the server's pack unpacks to more than " + std::to_string(max_bytes_) + " bytes",
                "give narrower --path options, or raise --max-bytes");
  }
  bytes_ += size;
}

git::Repository open_packs(const std::vector<std::filesystem::path>& directories) {
  const std::filesystem::path last = directories.back() / "pack";
  std::error_code error;
  std::filesystem::create_directories(last, error);
  if (error)
    throw Error("cannot make " + last.string() + ": " + error.message(), "check the directory above it");
  const auto objects = git::make<git::Database>("make a temporary repository", git_odb_new);
  int priority = 1;  // libgit2 writes to the highest
  for (const std::filesystem::path& directory : directories) {
    git_odb_backend* packs = nullptr;
    git::check(git_odb_backend_pack(&packs, directory.c_str()), "make a temporary repository");
    git::check(git_odb_add_backend(objects.get(), packs, priority++), "make a temporary repository");
  }
  return git::make<git::Repository>("make a temporary repository", git_repository_wrap_odb, objects.get());
}

PackSink::PackSink(git_repository* repository, FetchMeter& meter)
    : meter_(meter), inspector_(meter.max_bytes) {
  git_odb* objects = nullptr;
  git::check(git_repository_odb(&objects, repository), "open the temporary repository");
  objects_.reset(objects);
  git_odb_writepack* writer = nullptr;
  git::check(git_odb_write_pack(&writer, objects, on_progress, this), "write a pack");
  writer_.reset(writer);
}

void PackSink::append(std::string_view bytes) {
  inspector_.add(bytes);
  git::check(writer_->append(writer_.get(), bytes.data(), bytes.size(), &progress_), "fetch a pack");
}

void PackSink::finish() {
  if (!inspector_.complete()) {
    throw Error("the server's answer ends early", "try again; check the network and a proxy");
  }
  git::check(writer_->commit(writer_.get(), &progress_), "fetch a pack");
  git::check(git_odb_refresh(objects_.get()), "read what was fetched");
}

int PackSink::on_progress(const git_indexer_progress* progress, void* self) {
  FetchMeter& meter = static_cast<PackSink*>(self)->meter_;
  ++meter.activity;  // libgit2 resolves deltas after the last byte, and that may take long
  meter.objects = progress->received_objects;
  meter.objects_total = progress->total_objects;
  return meter.cancelled ? static_cast<int>(GIT_EUSER) : 0;
}

}  // namespace kms::builder
