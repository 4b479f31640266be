#include "builder/trust/signature.h"

#include <optional>

#include "builder/trust/signed_object.h"
#include "builder/trust/ssh.h"
#include "builder/trust/ssh_signature.h"

namespace kms::builder {
namespace {

constexpr std::string_view git_namespace = "git";
constexpr int max_tags = 10;  ///< tags of tags
constexpr auto hint = "have it signed, with gpg.format=ssh, by a key that --allowed-signers names";

using RawObject = std::unique_ptr<git_odb_object, git::Deleter<git_odb_object_free>>;

std::string_view content_of(git_odb_object* object) {
  return {static_cast<const char*>(git_odb_object_data(object)), git_odb_object_size(object)};
}

/// A name is the signer's word: not all of it is for a terminal.
std::string quoted(std::string_view text) {
  std::string shown = "'";
  for (const char c : text.substr(0, 40)) shown += c >= 0x20 && c < 0x7F ? c : '?';
  return shown + "'";
}

using Tag = std::unique_ptr<git_tag, git::Deleter<git_tag_free>>;

/// Null where it is none, or not there.
Tag find_tag(git_repository* objects, const git_oid& id) {
  git_tag* raw = nullptr;
  const int code = git_tag_lookup(&raw, objects, &id);
  if (code == GIT_ENOTFOUND || code == GIT_EINVALIDSPEC) return nullptr;
  git::check(code, "read tag " + git::hex(id));
  return Tag(raw);
}

/// "" where the tag is meant: a signed one of another name may be an old one in its place.
std::string why_another(const git_tag* tag, const std::string& wanted) {
  if (wanted.empty() || wanted == git_tag_name(tag)) return "";
  return "it is signed as tag " + quoted(git_tag_name(tag)) + ", and " + quoted(wanted) + " is asked for";
}

}  // namespace

Outcome<Signature> check_signature(const std::string& object, std::string_view raw,
                                   const AllowedSigners& signers) {
  const SignedObject parts = object == "tag" ? split_tag(raw) : split_commit(raw);
  if (parts.signature.empty()) return Error("it is not signed");
  if (!parts.signature.starts_with("-----BEGIN SSH SIGNATURE-----")) {
    return Error("its signature is of another kind than SSH's");
  }
  const Outcome<SshSignature> parsed = SshSignature::parse(parts.signature);
  if (!parsed) return parsed.error();
  const auto& signature = *parsed;
  if (signature.name_space != git_namespace) {
    return Error("it is signed for " + quoted(signature.name_space) + " and not for 'git'");
  }
  const Outcome<SshKey> key = SshKey::parse(signature.key);
  if (!key) {
    return Error("it is signed by key " + ssh_fingerprint(signature.key) + ": " + key.error().cause(),
                 key.error().next_step());
  }
  const Outcome<std::string> principals = signers.find(signature.key, git_namespace, parts.time);
  if (!principals) return principals.error();
  if (!key->verifies(signature.signed_bytes(parts.payload), signature.signature)) {
    return Error("its signature does not fit: it was changed after it was signed");
  }
  return Signature{object, *principals, ssh_fingerprint(signature.key)};
}

Signature required_signature(git_repository* objects, const SignedWay& way, const AllowedSigners& signers) {
  git_odb* raw_database = nullptr;
  git::check(git_repository_odb(&raw_database, objects), "open the repository's objects");
  const git::Database database(raw_database);
  std::optional<Signature> good;
  std::string why;
  const auto look_at = [&](const git_oid& id, const git_tag* tag) {
    if (good) return;
    const auto object = git::make<RawObject>("read " + git::hex(id), git_odb_read, database.get(), &id);
    const std::string kind = tag == nullptr ? "commit" : "tag";
    const Outcome<Signature> outcome = check_signature(kind, content_of(object.get()), signers);
    const std::string refusal = !outcome         ? outcome.error().cause()
                                : tag != nullptr ? why_another(tag, way.tag_name)
                                                 : "";
    if (refusal.empty()) {
      good = *outcome;
    } else {
      why += (why.empty() ? "" : ", and ") + kind + " " + git::hex(id) + ": " + refusal;
    }
  };
  git_oid id = way.tip;
  for (int depth = 0; git_oid_equal(&id, &way.commit) == 0; ++depth) {
    const Tag tag = depth < max_tags ? find_tag(objects, id) : nullptr;
    if (!tag) {
      throw Error("cannot trust the source: " + git::hex(way.tip) + " does not lead to commit " +
                      git::hex(way.commit) + ", whatever the server says",
                  "find out who answers there, and do not use it");
    }
    look_at(id, tag.get());
    id = *git_tag_target_id(tag.get());
  }
  look_at(id, nullptr);
  if (good) return *good;
  throw Error("cannot trust the source: " + why, hint);
}

}  // namespace kms::builder
