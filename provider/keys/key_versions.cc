#include "provider/keys/key_versions.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <limits>
#include <string>

namespace kms::provider {

using google::protobuf::util::TimeUtil;
using mock_kms::v1::KeyState;
using mock_kms::v1::KeyUse;

namespace {
constexpr auto max_wait_for_turn = std::chrono::milliseconds(250);
}

KeyVersions::KeyVersions(KeyRing& keys, std::optional<StateFile> file, OnRotation on_rotation)
    : keys_(keys),
      file_(std::move(file)),
      declared_(keys.current()->id.version),
      on_rotation_(std::move(on_rotation)) {
  state_.set_instance(keys.instance());
  state_ = with(declared_);
}

KeyState KeyVersions::with(KeyVersion version) const {
  KeyState next = state_;
  next.set_current(version);
  next.set_highest(std::max(version, state_.highest()));
  next.clear_uses();
  KeyUse& use = *next.add_uses();
  use.set_version(version);
  use.set_key_id(keys_.at(version)->id_text);
  use.set_current(true);
  *use.mutable_since() = TimeUtil::TimeTToTimestamp(::time(nullptr));
  for (const KeyUse& earlier : state_.uses()) {
    if (next.uses_size() == max_uses) break;
    *next.add_uses() = earlier;
    next.mutable_uses(next.uses_size() - 1)->set_current(false);
  }
  return next;
}

void KeyVersions::take_up_stored() {
  const std::lock_guard lock(mutex_);
  if (!file_) return;
  if (auto stored = file_->read()) {
    state_ = std::move(*stored);
    for (KeyUse& use : *state_.mutable_uses()) use.set_key_id(keys_.at(use.version())->id_text);
    const bool goes_on = state_.current() >= declared_;
    if (!goes_on || state_.uses().empty()) state_ = with(std::max(state_.current(), declared_));
    keys_.set_current(state_.current());
    if (goes_on) return;
  }
  file_->write(state_);
}

void KeyVersions::begin_turn() {
  if (file_) turn_ = file_->lock(max_wait_for_turn);
  take_up_stored();
}

void KeyVersions::end_turn() { turn_.reset(); }

Outcome<KeyVersions::Rotation> KeyVersions::rotate(std::optional<KeyVersion> to, bool force) {
  const std::lock_guard lock(mutex_);
  const KeyVersion from = state_.current();
  if (!to && state_.highest() == std::numeric_limits<KeyVersion>::max()) {
    return Error("there is no version above " + std::to_string(state_.highest()), "name one with --to");
  }
  const KeyVersion next = to.value_or(state_.highest() + 1);
  if (next == 0) return Error("versions count from 1");
  if (next == from) return Rotation{from, from};
  if (next <= state_.highest() && !force) {
    return Error("version " + std::to_string(next) + " is not above " + std::to_string(state_.highest()) +
                     ", the highest that was current",
                 "rotate without --to, or add --force to use a key id again");
  }
  make_current(next);
  return Rotation{from, next};
}

void KeyVersions::rotate_up_to(KeyVersion least) {
  const std::lock_guard lock(mutex_);
  if (least > state_.highest()) make_current(least);
}

void KeyVersions::make_current(KeyVersion version) {
  const KeyVersion from = state_.current();
  KeyState changed = with(version);
  if (file_) file_->write(changed);
  keys_.set_current(version);
  state_ = std::move(changed);
  if (on_rotation_) on_rotation_({from, version});
}

KeyState KeyVersions::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

}  // namespace kms::provider
