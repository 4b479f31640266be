#include "builder/compile/recipe.h"

namespace kms::builder {

const char* name_of(BuildSystem system) {
  switch (system) {
    case BuildSystem::automatic:
      return "auto";
    case BuildSystem::cmake:
      return "cmake";
    case BuildSystem::go:
      return "go";
    case BuildSystem::make:
      return "make";
    case BuildSystem::command:
      return "command";
  }
  return "";
}

std::optional<BuildSystem> system_of(std::string_view name) {
  for (const BuildSystem system : {BuildSystem::automatic, BuildSystem::cmake, BuildSystem::go,
                                   BuildSystem::make, BuildSystem::command}) {
    if (name == name_of(system)) return system;
  }
  return std::nullopt;
}

}  // namespace kms::builder
