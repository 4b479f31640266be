// What may be the name of a file or directory in a source tree. Pure; safe from any thread.
//
// Trees come from repositories that are not trusted: a name here becomes a path on this machine.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::builder {

/// A path that a person gave by --path, without slashes at its ends: relative, made of good names; "." is the
/// whole tree.
[[nodiscard]] Outcome<std::string> source_path(std::string_view text);

/// Why one component of a path is refused: "..", ".git" and devices in all their forms (reserved_name.h),
/// empty, longer than 255 bytes, a slash or control characters inside.
[[nodiscard]] std::optional<std::string> why_bad_name(std::string_view name);

inline constexpr std::size_t max_link = 4095;  ///< bytes of a symlink's target: PATH_MAX - 1

/// Why a symlink is refused: `link` is its path below the tree's root, `target` what it points to. It may go
/// up with leading "../" only as far as the root. A ".." further on is refused too: after another link's name
/// it would not lead to where the text says.
[[nodiscard]] std::optional<std::string> why_bad_link(std::string_view link, std::string_view target);

}  // namespace kms::builder
