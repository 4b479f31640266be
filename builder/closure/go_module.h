// What go.mod and go.work say about folders beside them. Pure; safe from any thread.
//
// The grammar is that of https://go.dev/ref/mod#go-mod-file and #go-work-file; what is no part of it is
// passed over: to refuse it is go's own task.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

struct GoFolders {
  std::vector<std::string> replacements;  ///< `replace ... => ../folder`, as written
  std::vector<std::string> modules;       ///< `use ./folder`, as written; go.work alone has them
};

[[nodiscard]] GoFolders go_folders(std::string_view text);

}  // namespace kms::builder
