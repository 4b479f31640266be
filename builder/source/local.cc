#include "builder/source/local.h"

#include <optional>
#include <vector>

namespace kms::builder {
namespace {

std::vector<std::string> all_refs(git_repository* repository) {
  git_strarray list{};
  git::check(git_reference_list(&list, repository), "list the refs");
  std::vector<std::string> names(list.strings, list.strings + list.count);
  git_strarray_dispose(&list);
  return names;
}

std::optional<git_oid> find(git_repository* repository, const RefName& ref) {
  git_oid id{};
  if (ref.is_commit_id()) {
    git::check(git_oid_fromstr(&id, ref.text().c_str()), "read a commit id");
    git_object* raw = nullptr;
    const int code = git_object_lookup(&raw, repository, &id, GIT_OBJECT_COMMIT);
    const git::Object commit(raw);
    if (code == GIT_ENOTFOUND) return std::nullopt;
    git::check(code, "read commit " + ref.text());
    return id;
  }
  for (const std::string& name : ref.candidates()) {
    const int code = git_reference_name_to_id(&id, repository, name.c_str());
    if (code == GIT_ENOTFOUND || code == GIT_EINVALIDSPEC) continue;
    git::check(code, "read ref " + name);
    return id;
  }
  return std::nullopt;
}

}  // namespace

Fetched open_local(const FetchRequest& request) {
  git::prepare_library();
  const std::string& path = request.repository.secret_location();
  git_repository* raw = nullptr;
  const int code = git_repository_open_ext(&raw, path.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (code == GIT_ENOTFOUND) {
    const bool exists = std::filesystem::exists(path);
    throw Error("cannot open " + path + ": " + (exists ? "it is no git repository" : "no such directory"),
                "give --repo a checkout or a bare repository");
  }
  git::check(code, "open " + path);
  Fetched fetched{git::Repository(raw), {}, {}, "local"};
  const std::optional<git_oid> id = find(raw, request.ref);
  if (!id) throw Error(request.ref.not_found(request.repository.display(), all_refs(raw)));
  const auto object =
      git::make<git::Object>("read " + request.ref.text(), git_object_lookup, raw, &*id, GIT_OBJECT_ANY);
  const auto commit = git::make<git::Object>("find the commit of " + request.ref.text(), git_object_peel,
                                             object.get(), GIT_OBJECT_COMMIT);
  fetched.tip = *id;
  fetched.commit = *git_object_id(commit.get());
  require_pinned(request, fetched.commit);
  return fetched;
}

std::string enclosing_repository(const std::filesystem::path& start) {
  git::prepare_library();
  git_buf found{};
  if (git_repository_discover(&found, start.c_str(), 0, nullptr) < 0) return "";
  const std::string git_directory(found.ptr, found.size);
  git_buf_dispose(&found);
  git_repository* raw = nullptr;
  if (git_repository_open(&raw, git_directory.c_str()) < 0) return "";
  const git::Repository repository(raw);
  const char* checkout = git_repository_workdir(raw);
  std::string path = checkout == nullptr ? git_directory : checkout;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace kms::builder
