#include "builder/cache/known_sources.h"

#include <optional>

#include "builder/cache/key.h"
#include "builder/compile/steps.h"
#include "common/crypto/sha256.h"

namespace kms::builder {

using mock_kms::v1::BuildInfo;

std::string question_of(const std::vector<std::string>& paths, BuildSystem system, Closure closure) {
  std::string text = name_of(system);
  text += std::to_string(static_cast<int>(closure));
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

std::map<std::string, BuildInfo> known_sources(const BuildCache& cache, const std::string& question,
                                               Recipe recipe, const Reuse& reuse,
                                               const Interruption& interruption) {
  std::map<std::string, BuildInfo> known;
  std::map<BuildSystem, Toolchain> tools;
  for (const std::string& commit : cache.commits(question)) {
    auto info = cache.source(commit, question);
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
