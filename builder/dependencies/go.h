// go_directories() lists the directories that go.mod and go.work name.
//
// Grammar: https://go.dev/ref/mod#go-mod-file and #go-work-file. Lines that break it are skipped: go itself
// refuses them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

struct GoDirectories {
  std::vector<std::string> replacements;  ///< `replace ... => ../directory`, as written
  std::vector<std::string> modules;       ///< `use ./directory` of go.work, as written
};

[[nodiscard]] GoDirectories go_directories(std::string_view text);

}  // namespace kms::builder
