#include "builder/source/pin.h"

namespace kms::builder {

void require_pinned(const FetchRequest& request, const git_oid& commit) {
  const std::string id = git::hex(commit);
  if (request.pin.empty() || request.pin == id) return;
  throw Error("cannot use " + request.ref.text() + " of " + request.repository.display() + ": it is commit " +
                  id + ", and --commit demands " + request.pin,
              "find out why it moved; give --ref " + request.pin + " to fetch the pinned commit itself");
}

}  // namespace kms::builder
