#include "builder/trust/signature.h"

#include <charconv>
#include <optional>

#include "builder/trust/ssh.h"
#include "common/text/escape.h"

namespace kms::builder {
namespace {

constexpr std::string_view git_namespace = "git";
constexpr int max_tags = 10;  ///< tags of tags
constexpr auto signing_hint = "have it signed, with gpg.format=ssh, by a key that --allowed-signers names";

using RawObject = std::unique_ptr<git_odb_object, Free<git_odb_object_free>>;

std::string_view content_of(git_odb_object* object) {
  return {static_cast<const char*>(git_odb_object_data(object)), git_odb_object_size(object)};
}

using Tag = std::unique_ptr<git_tag, Free<git_tag_free>>;

/// Null if the object is no tag or is missing.
Tag find_tag(git_repository* objects, const git_oid& id) {
  git_tag* raw = nullptr;
  const int code = git_tag_lookup(&raw, objects, &id);
  if (code == GIT_ENOTFOUND || code == GIT_EINVALIDSPEC) return nullptr;
  git::check(code, "read tag " + git::hex(id));
  return Tag(raw);
}

/// A server could offer an old signed tag under a new name.
Outcome<> check_name(const git_tag* tag, const std::string& wanted) {
  if (wanted.empty() || wanted == git_tag_name(tag)) return {};
  return Error("it is signed as tag " + in_quotes(git_tag_name(tag)) + ", and " + in_quotes(wanted) +
               " is asked for");
}

/// Takes the first line, with its end, off `text`.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::size_t size = end == std::string_view::npos ? text.size() : end + 1;
  const std::string_view line = text.substr(0, size);
  text.remove_prefix(size);
  return line;
}

/// Reads the time of "committer Name <address> 1700000000 +0100".
std::int64_t time_of(std::string_view person) {
  const std::size_t end = person.rfind("> ");
  std::int64_t time = 0;
  if (end != std::string_view::npos) {
    std::from_chars(person.data() + end + 2, person.data() + person.size(), time);
  }
  return time;
}

}  // namespace

SignedObject split_commit(std::string_view raw) {
  SignedObject object;
  bool in_signature = false;  // of any kind: those of the other hash function are not signed either
  bool ours = false;
  while (!raw.empty() && !raw.starts_with('\n')) {
    std::string_view line = take_line(raw);
    if (line.starts_with("gpgsig ") || line.starts_with("gpgsig-sha256 ")) {
      in_signature = true;
      ours = line.starts_with("gpgsig ");
    } else if (!line.starts_with(' ')) {
      in_signature = false;
    }
    if (line.starts_with("committer ")) object.time = time_of(line);
    if (!in_signature) {
      object.payload += line;
    } else if (ours) {
      object.signature += line.substr(line.find(' ') + 1);
    }
  }
  object.payload += raw;
  return object;
}

SignedObject split_tag(std::string_view raw) {
  SignedObject object;
  std::string_view rest = raw;
  std::size_t signature = raw.size();
  bool in_header = true;
  while (!rest.empty()) {
    const std::size_t at = raw.size() - rest.size();
    const std::string_view line = take_line(rest);
    if (line == "\n") in_header = false;
    if (in_header && line.starts_with("tagger ")) object.time = time_of(line);
    // The last beginning counts, as in git: what stands before it was signed, another beginning included.
    if (!in_header && line.starts_with("-----BEGIN ") &&
        (line.find(" SIGNATURE-----") != std::string_view::npos ||
         line.find(" MESSAGE-----") != std::string_view::npos)) {
      signature = at;
    }
  }
  object.payload = raw.substr(0, signature);
  object.signature = raw.substr(signature);
  return object;
}

Outcome<Signature> check_signature(const std::string& object, std::string_view raw,
                                   const AllowedSigners& signers) {
  const SignedObject parts = object == "tag" ? split_tag(raw) : split_commit(raw);
  if (parts.signature.empty()) return Error("it is not signed");
  if (!parts.signature.starts_with("-----BEGIN SSH SIGNATURE-----")) {
    return Error("its signature is not an SSH signature");
  }
  const Outcome<SshSignature> parsed = SshSignature::parse(parts.signature);
  if (!parsed) return parsed.error();
  const auto& signature = *parsed;
  if (signature.name_space != git_namespace) {
    return Error("it is signed for " + in_quotes(signature.name_space) + " and not for 'git'");
  }
  const Outcome<SshKey> key = SshKey::parse(signature.key);
  if (!key) {
    return Error("it is signed by key " + ssh_fingerprint(signature.key) + ": " + key.error().cause(),
                 key.error().next_step());
  }
  const Outcome<std::string> principals = signers.find(signature.key, git_namespace, parts.time);
  if (!principals) return principals.error();
  if (!key->verifies(signature.signed_bytes(parts.payload), signature.signature)) {
    return Error("its signature does not match: it was changed after it was signed");
  }
  return Signature{object, *principals, ssh_fingerprint(signature.key)};
}

Signature required_signature(git_repository* objects, const SignedChain& chain,
                             const AllowedSigners& signers) {
  git_odb* raw_database = nullptr;
  git::check(git_repository_odb(&raw_database, objects), "open the repository's objects");
  const git::Database database(raw_database);
  std::optional<Signature> good;
  std::string refusals;
  const auto check = [&](const git_oid& id, const git_tag* tag) {
    if (good) return;
    const auto object = git::make<RawObject>("read " + git::hex(id), git_odb_read, database.get(), &id);
    const std::string kind = tag == nullptr ? "commit" : "tag";
    Outcome<Signature> outcome = check_signature(kind, content_of(object.get()), signers);
    if (const auto named = tag == nullptr ? Outcome<>() : check_name(tag, chain.tag_name); outcome && !named)
      outcome = named.error();
    if (outcome) {
      good = *outcome;
    } else {
      refusals +=
          (refusals.empty() ? "" : ", and ") + kind + " " + git::hex(id) + ": " + outcome.error().cause();
    }
  };
  git_oid id = chain.tip;
  for (int depth = 0; git_oid_equal(&id, &chain.commit) == 0; ++depth) {
    const Tag tag = depth < max_tags ? find_tag(objects, id) : nullptr;
    if (!tag) {
      throw Error("cannot trust the source: " + git::hex(chain.tip) + " does not lead to commit " +
                      git::hex(chain.commit) + ", whatever the server says",
                  "find out who answers there, and do not use it");
    }
    check(id, tag.get());
    id = *git_tag_target_id(tag.get());
  }
  check(id, nullptr);
  if (good) return *good;
  throw Error("cannot trust the source: " + refusals, signing_hint);
}

}  // namespace kms::builder
