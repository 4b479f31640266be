// Names that mean something else than a file to git, or to a file system that a tree may be written to.
//
// Pure; safe from any thread. The rules are git's own for trees from strangers (fsck.c, path.c
// `is_ntfs_dotgit`, utf8.c `is_hfs_dotgit`, compat/mingw.c `is_valid_win32_path`). They hold wherever the
// builder runs: a volume of another system may be mounted anywhere.
#pragma once

#include <string>
#include <string_view>

namespace kms::builder {

/// Whether git or some file system takes `name` for ".git": in any case; with characters inside that HFS+
/// ignores; as NTFS's short name "git~1"; with blanks, dots, a stream or a backslash behind, where NTFS stops
/// reading; behind a backslash.
[[nodiscard]] bool means_git_directory(std::string_view name);

/// Whether Windows takes `name` for a device: CON, PRN, AUX, NUL, COM1..COM9, LPT1..LPT9, CONIN$ and CONOUT$
/// in any case, alone or before blanks, a dot or a colon.
[[nodiscard]] bool means_device(std::string_view name);

/// `text` with ASCII's capitals made small, as file systems compare names that ignore case.
[[nodiscard]] std::string fold_case(std::string_view text);

}  // namespace kms::builder
