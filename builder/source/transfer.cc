#include "builder/source/transfer.h"

#include <algorithm>
#include <limits>

#include "common/log/log.h"

namespace kms::builder {
namespace {

using Clock = std::chrono::steady_clock;

void record_signature(const Signature& signature, mock_kms::v1::BuildInfo& info) {
  log::info("signed",
            {{"object", signature.object}, {"by", signature.principals}, {"key", signature.fingerprint}});
  info.mutable_signature()->set_object(signature.object);
  info.mutable_signature()->set_principals(signature.principals);
  info.mutable_signature()->set_fingerprint(signature.fingerprint);
}

DrawProgress drawing_on(Progress& progress) {
  return [&progress](const FetchMeter& meter) {
    progress.update("fetch", meter.objects, meter.objects_total, human_bytes(meter.bytes));
  };
}

}  // namespace

Fetched transfer_source(const FetchRequest& request, const Interruption& interruption, Progress& progress,
                        mock_kms::v1::BuildInfo& info) {
  const auto begin = Clock::now();
  log::info("fetching", {{"repository", request.repository.display()},
                         {"ref", request.ref.text()},
                         {"pinned", request.ref.is_commit_id() || !request.pin.empty()}});
  Fetched fetched = fetch(request, interruption, drawing_on(progress));
  progress.clear();
  const std::string commit = git::hex(fetched.commit);
  log::info("fetched", {{"commit", commit},
                        {"strategy", fetched.strategy},
                        {"bytes", fetched.bytes},
                        {"requests", fetched.requests},
                        {"duration", human_duration(Clock::now() - begin)}});
  record_request(request, commit, info);
  record_transfer(fetched, info);
  if (fetched.signature) record_signature(*fetched.signature, info);
  return fetched;
}

void transfer_more(const FetchRequest& request, const std::vector<std::string>& paths, Fetched& fetched,
                   const Interruption& interruption, Progress& progress) {
  fetch_more(request, paths, fetched, interruption, drawing_on(progress));
  progress.clear();
}

void record_transfer(const Fetched& fetched, mock_kms::v1::BuildInfo& info) {
  info.mutable_transfer()->set_strategy(fetched.strategy);
  info.mutable_transfer()->set_bytes(static_cast<std::uint32_t>(
      std::min<std::uint64_t>(fetched.bytes, std::numeric_limits<std::uint32_t>::max())));
  info.mutable_transfer()->set_requests(fetched.requests);
}

void record_request(const FetchRequest& request, const std::string& commit, mock_kms::v1::BuildInfo& info) {
  info.set_repository(request.repository.display());
  info.set_ref(request.ref.text());
  info.set_commit(commit);
  info.set_builder_version(KMS_VERSION);
}

}  // namespace kms::builder
