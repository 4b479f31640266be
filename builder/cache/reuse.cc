#include "builder/cache/reuse.h"

#include "common/error.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

using mock_kms::v1::BuildInfo;

/// The record of how a binary was made, with where its source comes from this time.
BuildInfo merged(BuildInfo made, const BuildInfo& now) {
  made.set_repository(now.repository());
  made.set_ref(now.ref());
  made.set_commit(now.commit());
  *made.mutable_transfer() = now.transfer();
  made.clear_signature();
  if (now.has_signature()) *made.mutable_signature() = now.signature();
  return made;
}

}  // namespace

bool Reuse::offers(const std::string& key) const {
  if (cache_.holds(key)) return true;
  const auto record = read_build_info(output_.parent_path() / build_info_name);
  return record && record->key() == key;
}

std::optional<Reused> Reuse::serve(const BuildInfo& info) const {
  if (auto reused = from_output(info)) return reused;
  return from_cache(info);
}

bool Reuse::runs(const std::filesystem::path& binary) const {
  try {
    (void)prove_runs(binary, proof_, isolation_(), interruption_);
    return true;
  } catch (const Error& error) {
    log::info("compiling what is there anew", {{"why", error.cause()}});
    return false;
  }
}

std::optional<Reused> Reuse::from_output(const BuildInfo& info) const {
  Output output(output_, interruption_);
  std::optional<BuildInfo> old = output.current();
  if (!old || old->key() != info.key()) return std::nullopt;
  try {
    output.check_mode();
  } catch (const Error& error) {
    log::info("publishing what is there anew", {{"why", error.cause()}});
    return std::nullopt;
  }
  if (!runs(output_)) return std::nullopt;
  *old = merged(*old, info);
  old->mutable_binary()->set_path(output_.string());
  output.replace_info(*old);
  log::info("up to date", {{"binary", output_.string()}, {"commit", info.commit()}});
  return Reused{*old, Origin::output};
}

std::optional<Reused> Reuse::from_cache(const BuildInfo& info) const {
  const std::optional<CacheHit> hit = cache_.find(info.key());
  if (!hit) return std::nullopt;
  BuildInfo record = merged(hit->info, info);
  Output output(output_, interruption_);
  const std::filesystem::path staged = output.stage(hit->binary.get(), record);
  if (record.binary().sha256() != hit->info.binary().sha256() || record.key() != info.key()) {
    cache_.set_aside(info.key(), "a damaged entry");
    return std::nullopt;
  }
  if (!runs(staged)) {
    cache_.set_aside(info.key(), "an entry that does not run");  // or what is compiled now could not be kept
    return std::nullopt;
  }
  record.set_from_cache(true);
  output.publish(record);
  log::info("published from the cache", {{"binary", output_.string()},
                                         {"sha256", record.binary().sha256()},
                                         {"bytes", record.binary().size()}});
  return Reused{record, Origin::cache};
}

}  // namespace kms::builder
