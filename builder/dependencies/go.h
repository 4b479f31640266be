// What go.mod and go.work say about directories beside them. Pure; safe from any thread.
//
// The grammar is that of https://go.dev/ref/mod#go-mod-file and #go-work-file; what is no part of it is
// passed over: to refuse it is go's own task.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

struct GoDirectories {
  std::vector<std::string> replacements;  ///< `replace ... => ../directory`, as written
  std::vector<std::string> modules;       ///< `use ./directory`, as written; go.work alone has them
};

[[nodiscard]] GoDirectories go_directories(std::string_view text);

}  // namespace kms::builder
