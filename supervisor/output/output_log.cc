#include "supervisor/output/output_log.h"

#include "common/text/escape.h"
#include "common/text/protobuf.h"

namespace kms::supervisor {

void OutputLog::add(std::uint64_t number, pid_t pid, const std::string& text, WallTime now) {
  bytes_ += text.size();
  lines_.push_back({number, now, pid, text});
  while (bytes_ > kept_bytes || lines_.size() > kept_lines) {
    bytes_ -= lines_.front().text.size();
    lines_.pop_front();
  }
}

void OutputLog::read(std::uint64_t after, unsigned instance, mock_kms::v1::OutputPage& page) const {
  for (const Line& line : lines_) {
    if (line.number <= after) continue;
    mock_kms::v1::OutputLine& shown = *page.add_lines();
    shown.set_number(line.number);
    *shown.mutable_at() = to_timestamp(line.at);
    shown.set_instance(instance);
    shown.set_pid(static_cast<std::uint32_t>(line.pid));
    shown.set_text(utf8_text(line.text));
  }
}

}  // namespace kms::supervisor
