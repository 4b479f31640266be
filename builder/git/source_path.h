// The names and paths that a source tree may hold.
//
// Trees come from repositories that are not trusted, and a name here becomes a path on this machine. The
// rules are git's own for trees from strangers (fsck.c; path.c, is_ntfs_dotgit; utf8.c, is_hfs_dotgit;
// compat/mingw.c, is_valid_win32_path). They hold on every system: a volume of another one may be mounted
// anywhere.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::builder {

/// A path given by --path, without slashes at its ends: relative, each name a good one. "." is the whole
/// tree.
[[nodiscard]] Outcome<std::string> source_path(std::string_view text);

/// The path of `name` as `directory` names it, both in the tree: without ".." inside or a slash at its end,
/// "." for the root. May begin with "..".
[[nodiscard]] std::string joined_path(const std::string& directory, const std::string& name);

/// Why one component of a path is refused: "..", ".git" and devices in all their forms, empty, longer than
/// 255 bytes, a slash or control characters inside.
[[nodiscard]] std::optional<std::string> why_bad_name(std::string_view name);

inline constexpr std::size_t max_link = 4095;  ///< bytes of a symlink's target: PATH_MAX - 1

/// Why a symlink is refused: `link` is its path below the tree's root, `target` its content. It may go up
/// with leading "../" only as far as the root. A later ".." is refused too: after another link's name it
/// would not lead to where the text says.
[[nodiscard]] std::optional<std::string> why_bad_link(std::string_view link, std::string_view target);

/// True if git or a file system takes `name` for ".git": in any case; with characters inside that HFS+
/// ignores; as NTFS's short name "git~1"; before blanks, dots, a stream or a backslash, where NTFS stops
/// reading; after a backslash.
[[nodiscard]] bool means_git_directory(std::string_view name);

/// True if Windows takes `name` for a device: CON, PRN, AUX, NUL, COM1..COM9, LPT1..LPT9, CONIN$ and CONOUT$
/// in any case, alone or before blanks, a dot or a colon.
[[nodiscard]] bool means_device(std::string_view name);

/// `text` with ASCII's capitals in lower case, as file systems compare names that ignore case.
[[nodiscard]] std::string fold_case(std::string_view text);

}  // namespace kms::builder
