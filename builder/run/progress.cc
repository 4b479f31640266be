#include "builder/run/progress.h"

#include <google/protobuf/util/time_util.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "common/log/log.h"

namespace kms::builder {
namespace {

using namespace std::chrono_literals;

constexpr auto logging_interval = 3s;
constexpr std::size_t bar_width = 30;

}  // namespace

Progress Progress::for_stderr() {
  winsize size{};
  const bool terminal = ::isatty(STDERR_FILENO) == 1 && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
  return {terminal, size.ws_col == 0 ? 80U : size.ws_col};
}

void Progress::update(const std::string& phase, std::uint64_t done, std::uint64_t total,
                      const std::string& detail, Clock::time_point now) {
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", bar(phase, done, total, detail, columns_ - 1).c_str());
    drawn_ = true;
    return;
  }
  if (logged_phase_ != phase) {  // a phase shorter than the interval needs no line but its last
    logged_phase_ = phase;
    logged_at_ = now;
  }
  if (now - logged_at_ < logging_interval || total == 0) return;
  logged_at_ = now;
  if (detail.empty())
    log::info(phase, {{"done", done}, {"total", total}});
  else
    log::info(phase, {{"done", done}, {"total", total}, {"detail", detail}});
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

std::string bar(const std::string& phase, std::uint64_t done, std::uint64_t total, const std::string& detail,
                unsigned columns) {
  const std::size_t filled = total == 0 ? 0 : std::min<std::size_t>(bar_width, bar_width * done / total);
  std::string text = phase + " [" + std::string(filled, '=') + std::string(filled < bar_width ? ">" : "");
  text.resize(phase.size() + 2 + bar_width, ' ');
  text += "] " + std::to_string(done) + "/" + (total == 0 ? "?" : std::to_string(total));
  if (!detail.empty()) text += "  " + detail;
  return text.substr(0, columns);
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  const double kilo = static_cast<double>(bytes) / 1000;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), kilo < 1000 ? "%.1f kB" : "%.1f MB",
                kilo < 1000 ? kilo : kilo / 1000);
  return text.data();
}

Error cannot_use(const std::filesystem::filesystem_error& error) {
  return {"cannot use " + error.path1().string() + ": " + error.code().message(),
          "check the option that names this path, and the rights and free space there"};
}

void Phases::note(const std::string& name, Duration duration) {
  log::info("phase done", {{"phase", name}, {"duration", human_duration(duration)}});
  auto* phase = info_.add_phases();
  phase->set_name(name);
  *phase->mutable_duration() = google::protobuf::util::TimeUtil::NanosecondsToDuration(duration.count());
}

}  // namespace kms::builder
