#include "builder/signature/required_signature.h"

#include "builder/signature/signed_object.h"
#include "builder/signature/ssh_key.h"
#include "builder/signature/ssh_signature.h"

namespace kms::builder {
namespace {

constexpr std::string_view git_namespace = "git";
constexpr int most_tags = 10;  ///< tags of tags
constexpr auto hint = "have it signed, with gpg.format=ssh, by a key that --allowed-signers names";

using RawObject = std::unique_ptr<git_odb_object, git::Deleter<git_odb_object_free>>;

std::string_view content_of(git_odb_object* object) {
  return {static_cast<const char*>(git_odb_object_data(object)), git_odb_object_size(object)};
}

git_oid target_of(git_repository* objects, const git_oid& tag) {
  const auto object =
      git::make<git::Object>("read tag " + git::hex(tag), git_object_lookup, objects, &tag, GIT_OBJECT_TAG);
  return *git_tag_target_id(reinterpret_cast<const git_tag*>(object.get()));
}

/// A namespace is the signer's word: not all of it is for a terminal.
std::string quoted(std::string_view text) {
  std::string shown = "'";
  for (const char c : text.substr(0, 40)) shown += c >= 0x20 && c < 0x7F ? c : '?';
  return shown + "'";
}

}  // namespace

Outcome<Signature> check_signature(const std::string& object, std::string_view raw,
                                   const AllowedSigners& signers) {
  const SignedObject parts = object == "tag" ? split_tag(raw) : split_commit(raw);
  if (parts.signature.empty()) return Failure{"it is not signed", ""};
  if (!parts.signature.starts_with("-----BEGIN SSH SIGNATURE-----")) {
    return Failure{"its signature is of another kind than SSH's", ""};
  }
  const Outcome<SshSignature> parsed = SshSignature::parse(parts.signature);
  if (const Failure* failure = failure_of(parsed)) return *failure;
  const auto& signature = std::get<SshSignature>(parsed);
  if (signature.name_space != git_namespace) {
    return Failure{"it is signed for " + quoted(signature.name_space) + " and not for 'git'", ""};
  }
  const Outcome<SshKey> key = SshKey::parse(signature.key);
  if (const Failure* failure = failure_of(key)) {
    return Failure{"it is signed by key " + ssh_fingerprint(signature.key) + ": " + failure->cause,
                   failure->hint};
  }
  const Outcome<std::string> principals = signers.find(signature.key, git_namespace, parts.time);
  if (const Failure* failure = failure_of(principals)) return *failure;
  if (!std::get<SshKey>(key).verifies(signature.signed_bytes(parts.payload), signature.signature)) {
    return Failure{"its signature does not fit: it was changed after it was signed", ""};
  }
  return Signature{object, std::get<std::string>(principals), ssh_fingerprint(signature.key)};
}

Signature required_signature(git_repository* objects, const git_oid& tip, const AllowedSigners& signers) {
  git_odb* raw_database = nullptr;
  git::check(git_repository_odb(&raw_database, objects), "open the repository's objects");
  const git::Database database(raw_database);
  git_oid id = tip;
  std::string why;
  for (int depth = 0; depth <= most_tags; ++depth) {
    const auto object = git::make<RawObject>("read " + git::hex(id), git_odb_read, database.get(),
                                             static_cast<const git_oid*>(&id));
    const bool tag = git_odb_object_type(object.get()) == GIT_OBJECT_TAG;
    const std::string kind = tag ? "tag" : "commit";
    const Outcome<Signature> outcome = check_signature(kind, content_of(object.get()), signers);
    const Failure* failure = failure_of(outcome);
    if (failure == nullptr) return std::get<Signature>(outcome);
    why += (why.empty() ? "" : ", and ") + kind + " " + git::hex(id) + ": " + failure->cause;
    if (!tag) break;
    id = target_of(objects, id);
  }
  throw Error("cannot trust the source: " + why, hint);
}

}  // namespace kms::builder
