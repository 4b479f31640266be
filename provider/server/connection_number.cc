#include "provider/server/connection_number.h"

#include <grpc/grpc_security.h>

#include <charconv>
#include <memory>
#include <string>

namespace kms::provider {
namespace {

constexpr auto property = "mock_kms_connection";

struct Release {
  void operator()(grpc_auth_context* context) const { grpc_auth_context_release(context); }
};

}  // namespace

std::uint64_t connection_number(grpc_call* call, std::uint64_t& count) {
  const std::unique_ptr<grpc_auth_context, Release> context(grpc_call_auth_context(call));
  if (!context) return 0;
  auto found = grpc_auth_context_find_properties_by_name(context.get(), property);
  if (const grpc_auth_property* kept = grpc_auth_property_iterator_next(&found)) {
    std::uint64_t number = 0;
    std::from_chars(kept->value, kept->value + kept->value_length, number);
    return number;
  }
  grpc_auth_context_add_cstring_property(context.get(), property, std::to_string(++count).c_str());
  return count;
}

}  // namespace kms::provider
