// RefName is the value of --ref: HEAD, a branch, a tag, a full ref name or a full commit id.
//
// It says which refs a name may stand for, and in which order. It looks none of them up.
#pragma once

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

  /// The refs that it may stand for: the first one that exists counts. A branch precedes a tag of the same
  /// name, as in `git clone --branch`.
  [[nodiscard]] std::vector<std::string> candidates() const;

  /// The name that a tag object of this ref must contain; "" for an id, which a tag of any name may have.
  [[nodiscard]] std::string tag_name() const;

  /// "cannot find ...", with the nearest of the existing refs.
  [[nodiscard]] Error not_found(const std::string& repository,
                                const std::vector<std::string>& existing) const;

 private:
  RefName(std::string text, bool commit_id) : text_(std::move(text)), commit_id_(commit_id) {}

  std::string text_;
  bool commit_id_;
};

}  // namespace kms::builder
