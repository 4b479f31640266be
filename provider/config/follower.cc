#include "provider/config/follower.h"

#include <google/protobuf/util/message_differencer.h>
#include <google/protobuf/util/time_util.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>

#include "common/log/log.h"

namespace kms::provider {

using google::protobuf::util::MessageDifferencer;
using google::protobuf::util::TimeUtil;
using mock_kms::v1::FaultUse;
using mock_kms::v1::ProviderConfig;

ConfigFollower::ConfigFollower(const std::string& path, Declared declared)
    : declared_(declared),
      watch_(path),
      stop_event_(::eventfd(0, EFD_CLOEXEC)),
      again_event_(::eventfd(0, EFD_CLOEXEC)) {
  if (!stop_event_ || !again_event_) throw_errno("make an event descriptor");
  status_.set_file(path);
  take_up_file();
  thread_ = std::thread([this] { follow(); });
}

ConfigFollower::~ConfigFollower() {
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

mock_kms::v1::ConfigStatus ConfigFollower::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void ConfigFollower::read_again() { ::eventfd_write(again_event_.get(), 1); }

void ConfigFollower::follow() try {
  std::array watched{pollfd{stop_event_.get(), POLLIN, 0}, pollfd{again_event_.get(), POLLIN, 0},
                     pollfd{watch_.fd(), POLLIN, 0}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) throw_errno("wait for changes");
    if (watched[0].revents != 0) return;
    const bool asked = watched[1].revents != 0;
    if (asked) {
      eventfd_t times = 0;
      ::eventfd_read(again_event_.get(), &times);
      last_seen_.clear();
    }
    if ((watched[2].revents != 0 && watch_.changed()) || asked) take_up_file();
  }
} catch (const std::exception& error) {
  refuse(std::string("it is no longer followed: ") + error.what());
}

void ConfigFollower::take_up_file() {
  std::string digest;
  std::string error;
  const auto config = read_config(status_.file(), digest);
  if (!config) {
    error = config.error().line();
  } else if (digest != status_.sha256()) {
    try {
      take_up(*config);
    } catch (const Error& failed) {
      error = failed.what();
    }
  }
  // One change of a mounted ConfigMap is several events; only the first is news.
  if (const std::string seen = digest + error; seen == std::exchange(last_seen_, seen)) return;
  if (error.empty()) {
    accept(*config, digest);
  } else {
    refuse(error);
  }
}

/// The version first: it is the one part that can fail.
void ConfigFollower::take_up(const ProviderConfig& config) {
  declared_.versions.rotate_up_to(config.key_version());
  declared_.faults.declare({config.faults().begin(), config.faults().end()}, FaultUse::FILE);
  if (MessageDifferencer::Equals(config.scenario(), scenario_)) return;
  scenario_ = config.scenario();
  if (config.has_scenario()) {
    declared_.runner.run(scenario_, true);
  } else {
    declared_.runner.stop_from_file();
  }
}

void ConfigFollower::accept(const ProviderConfig& config, const std::string& digest) {
  const KeyVersion current = declared_.versions.state().current();
  std::string remark;
  if (config.key_version() != 0 && config.key_version() != current) {
    remark = "keyVersion " + std::to_string(config.key_version()) +
             " has no effect: a version is never declared back, and " + std::to_string(current) +
             " is current";
  }
  {
    const std::lock_guard lock(mutex_);
    status_.set_sha256(digest);
    status_.clear_error();
    status_.clear_error_since();
    status_.set_remark(remark);
    *status_.mutable_since() = TimeUtil::GetCurrentTime();
  }
  log::info("took up the configuration", {{"file", status_.file()},
                                          {"sha256", digest},
                                          {"key_version", current},
                                          {"faults", config.faults_size()},
                                          {"scenario", config.has_scenario()}});
  if (!remark.empty()) log::warning(remark, {{"file", status_.file()}});
  declared_.journal.note("configuration " + status_.file() + " is in effect" +
                         (remark.empty() ? "" : "; " + remark));
}

void ConfigFollower::refuse(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    status_.set_error(why);
    *status_.mutable_error_since() = TimeUtil::GetCurrentTime();
  }
  log::warning("the configuration is bad; the one before stays in effect",
               {{"file", status_.file()}, {"cause", why}});
  declared_.journal.note("configuration " + status_.file() +
                         " is bad, the one before stays in effect: " + why);
}

}  // namespace kms::provider
