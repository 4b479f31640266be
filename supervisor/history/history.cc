#include "supervisor/history/history.h"

#include "common/text/escape.h"
#include "common/text/protobuf.h"

namespace kms::supervisor {
namespace {

constexpr std::size_t max_text = 1024;

}  // namespace

void History::add(mock_kms::v1::EventKind kind, unsigned instance, const std::string& text,
                  const log::Fields& details, WallTime now) {
  mock_kms::v1::Event& event = events_.emplace_back();
  event.set_number(++last_number_);
  *event.mutable_at() = to_timestamp(now);
  event.set_instance(instance);
  event.set_kind(kind);
  event.set_text(utf8_text(text.substr(0, max_text)));
  for (const log::Field& detail : details) {
    (*event.mutable_details())[detail.key()] = utf8_text(detail.value().substr(0, max_text));
  }
  if (events_.size() > kept_events) events_.pop_front();
}

void History::read(std::uint64_t after, unsigned instance, mock_kms::v1::EventPage& page) const {
  for (const auto& event : events_) {
    if (event.number() > after && (instance == 0 || event.instance() == instance)) *page.add_events() = event;
  }
}

}  // namespace kms::supervisor
