#include "builder/cache/reuse.h"

#include "builder/cache/key.h"
#include "common/crypto/sha256.h"
#include "common/error.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

using mock_kms::v1::BuildInfo;

/// The record of the binary `made`, with the source fields of `now`.
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

bool Reuse::runs(const std::filesystem::path& binary, const Output& output) const {
  if (output.is_noexec()) return true;  // it passed the smoke test where it was compiled
  try {
    (void)run_smoke_test(binary, test_, isolation_(), interruption_);
    return true;
  } catch (const Error& error) {
    log::info("compiling again", {{"why", error.cause()}});
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
    log::info("publishing again", {{"why", error.cause()}});
    return std::nullopt;
  }
  if (!runs(output_, output)) return std::nullopt;
  *old = merged(*old, info);
  old->mutable_binary()->set_path(output_.string());
  output.replace_info(*old);
  log::info("up to date", {{"binary", output_.string()}, {"commit", info.commit()}});
  return Reused{*old, false};
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
  if (!runs(staged, output)) {
    cache_.set_aside(info.key(), "an entry that does not run");  // makes room for the one compiled now
    return std::nullopt;
  }
  record.set_from_cache(true);
  output.publish(record);
  log::info("published from the cache", {{"binary", output_.string()},
                                         {"sha256", record.binary().sha256()},
                                         {"bytes", record.binary().size()}});
  return Reused{record, true};
}

std::string source_key(const std::vector<std::string>& paths, BuildSystem system, Dependencies dependencies) {
  std::string text = name_of(system);
  text += std::to_string(static_cast<int>(dependencies));
  for (const std::string& path : paths) text += "\n" + path;
  return sha256_hex(bytes_of(text)).substr(0, 16);
}

void record_tools(const Recipe& recipe, const Toolchain& tools, BuildInfo& info) {
  info.mutable_compiler()->set_path(tools.compiler);
  info.mutable_compiler()->set_version(tools.compiler_version);
  info.clear_flags();
  for (const std::string& flag : recorded_flags(recipe, tools)) info.add_flags(flag);
  info.set_target(recipe.target);
  info.set_build_system(name_of(recipe.system));
  info.set_key(build_key(info, recipe));
}

std::map<std::string, BuildInfo> known_sources(const BuildCache& cache, const std::string& source_key,
                                               Recipe recipe, const Reuse& reuse,
                                               const Interruption& interruption) {
  std::map<std::string, BuildInfo> known;
  std::map<BuildSystem, Toolchain> tools;
  for (const std::string& commit : cache.commits(source_key)) {
    auto info = cache.source(commit, source_key);
    const auto system = info ? system_of(info->build_system()) : std::nullopt;
    if (!system) continue;
    recipe.system = *system;
    if (!tools.contains(*system)) tools.emplace(*system, Toolchain::find(*system, interruption));
    record_tools(recipe, tools.at(*system), *info);
    if (reuse.offers(info->key())) known.emplace(commit, std::move(*info));
  }
  return known;
}

}  // namespace kms::builder
