// RefName is what a person asks for by --ref: HEAD, a branch, a tag, a full ref name or a full commit id.
//
// A value; pure; safe from any thread. It only says which names are meant, in which order; it never looks
// them up.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace kms::builder {

class RefName {
 public:
  /// Refuses what git-check-ref-format(1) refuses.
  [[nodiscard]] static Outcome<RefName> parse(std::string_view text);

  [[nodiscard]] const std::string& text() const { return text_; }

  /// All of a commit's 40 hex digits.
  [[nodiscard]] bool is_commit_id() const { return commit_id_; }

  /// The refs that it may mean, the first one that exists is it. A branch goes before a tag of its name, as
  /// in `git clone --branch`.
  [[nodiscard]] std::vector<std::string> candidates() const;

  /// The name that a tag gives itself where it is this ref; "" for an id, which a tag of any name may have.
  [[nodiscard]] std::string tag_name() const;

  /// "cannot find ...", with the nearest of the refs that there are.
  [[nodiscard]] Error not_found(const std::string& repository,
                                const std::vector<std::string>& existing) const;

 private:
  RefName(std::string text, bool commit_id) : text_(std::move(text)), commit_id_(commit_id) {}

  std::string text_;
  bool commit_id_;
};

}  // namespace kms::builder
