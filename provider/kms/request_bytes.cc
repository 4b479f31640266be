#include "provider/kms/request_bytes.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "common/crypto/secret_bytes.h"

namespace kms::provider {
namespace {

std::string joined(grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  if (!bytes.Dump(&slices).ok()) return "";
  std::string text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

/// Inflates gzip or zlib data to `max_request` bytes at most.
RequestBytes inflate_to(const std::string& data, std::string& out) {
  constexpr int any_header = 15 + 32;  // zlib or gzip
  z_stream stream{};
  if (::inflateInit2(&stream, any_header) != Z_OK) return RequestBytes::malformed;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  out.resize(max_request);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool whole = ::inflate(&stream, Z_FINISH) == Z_STREAM_END;
  const bool full = stream.avail_out == 0;
  out.resize(stream.total_out);
  ::inflateEnd(&stream);
  if (whole) return RequestBytes::parsed;
  return full ? RequestBytes::too_large : RequestBytes::malformed;
}

}  // namespace

/// gRPC does not report whether a request is compressed. gzip data begins with 0x1f and zlib data with 0x78;
/// no message of KMS v1 or v2 does.
RequestBytes read_request(grpc::ByteBuffer& bytes, google::protobuf::MessageLite& request) {
  if (bytes.Length() > max_request) return RequestBytes::too_large;
  const auto parsed = [](bool ok) { return ok ? RequestBytes::parsed : RequestBytes::malformed; };
  grpc::ProtoBufferReader reader(&bytes);
  const void* data = nullptr;
  int size = 0;
  if (!reader.Next(&data, &size) || size == 0) return parsed(reader.status().ok());
  const auto first = *static_cast<const unsigned char*>(data);
  reader.BackUp(size);
  if (first != 0x1f && first != 0x78) return parsed(request.ParseFromZeroCopyStream(&reader));
  std::string whole;
  const WipeAtEnd wiping(whole);
  const RequestBytes inflated = inflate_to(joined(bytes), whole);
  return inflated == RequestBytes::parsed ? parsed(request.ParseFromString(whole)) : inflated;
}

}  // namespace kms::provider
