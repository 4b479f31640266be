#include "provider/journal/journal.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "common/crypto/sha256.h"
#include "common/text/protobuf.h"
#include "proto/provider_faults.pb.h"

namespace kms::provider {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::array<const char*, Journal::methods> method_names{
    "Status", "Encrypt", "Decrypt", "V1Version", "V1Encrypt", "V1Decrypt", "Other"};

std::string code_name(int code) {
  if (code == Journal::hung) return "HUNG";
  return mock_kms::v1::Fault::Code_Name(static_cast<mock_kms::v1::Fault::Code>(code));
}

/// Cuts between characters: valid UTF-8 stays valid.
void assign_text(std::string& to, std::string_view from, std::size_t max = Journal::max_text) {
  to.assign(from.substr(0, max));
  if (from.size() > to.size()) {
    while (!to.empty() && (static_cast<unsigned char>(from[to.size()]) & 0xC0U) == 0x80U) to.pop_back();
  }
}

google::protobuf::Timestamp wall_time(Journal::Clock::time_point time) {
  const auto wall = std::chrono::system_clock::now() - (Journal::Clock::now() - time);
  return TimeUtil::NanosecondsToTimestamp(
      std::chrono::duration_cast<std::chrono::nanoseconds>(wall.time_since_epoch()).count());
}

}  // namespace

/// Reuses the oldest entry. Entries are in the order of their ends, so a later one may have come earlier.
Journal::Entry& Journal::Ring::next() {
  Entry& entry = entries[total++ % max_calls];
  if (total > max_calls && entry.event.empty()) latest_forgotten = std::max(latest_forgotten, entry.came);
  return entry;
}

Journal::Entry& Journal::next_entry(Ring& ring) {
  Entry& entry = ring.next();
  entry.number = ++last_number_;
  return entry;
}

std::vector<const Journal::Entry*> Journal::entries_after(std::uint64_t after) const {
  std::vector<const Entry*> found;
  for (const Ring* ring : {&good_statuses_, &others_}) {
    for (const Entry& entry : ring->entries) {
      if (entry.number > after) found.push_back(&entry);
    }
  }
  std::sort(found.begin(), found.end(), [](const Entry* a, const Entry* b) { return a->number < b->number; });
  return found;
}

void Journal::add(const Call& call) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  const bool is_good_status = call.method == Method::status && call.code == 0 && call.fault.empty();
  Entry& entry = next_entry(is_good_status ? good_statuses_ : others_);
  entry.method = call.method;
  entry.code = call.code >= 0 && call.code <= hung ? call.code : 2;  // UNKNOWN
  assign_text(entry.uid, call.uid);
  assign_text(entry.key_id, call.key_id);
  assign_text(entry.fault, call.fault);
  assign_text(entry.path, call.path);
  entry.event.clear();
  entry.connection = call.connection;
  entry.request_bytes = call.request_bytes;
  entry.response_bytes = call.response_bytes;
  entry.came = call.came;
  entry.latency = now - call.came;
  Count& count = counts_[static_cast<std::size_t>(call.method)][static_cast<std::size_t>(entry.code)];
  ++count.calls;
  if (!call.fault.empty()) ++count.faulted;
  if (!latencies_.empty() && entry.code != hung) {
    latencies_[index_of(call.method, entry.code)].observe(entry.latency);
  }
}

void Journal::measure_latencies() {
  const std::lock_guard lock(mutex_);
  latencies_.resize(method_names.size() * (hung + 1));
}

std::vector<Journal::Latencies> Journal::latencies() const {
  const std::lock_guard lock(mutex_);
  std::vector<Latencies> found;
  if (latencies_.empty()) return found;
  for (std::size_t method = 0; method < method_names.size(); ++method) {
    for (int code = 0; code < hung; ++code) {
      if (counts_[method][static_cast<std::size_t>(code)].calls == 0) continue;
      found.push_back(
          {method_names[method], code_name(code), latencies_[index_of(static_cast<Method>(method), code)]});
    }
  }
  return found;
}

void Journal::note(std::string_view event, Clock::time_point at) {
  const std::lock_guard lock(mutex_);
  Entry& entry = next_entry(others_);
  const std::uint64_t number = entry.number;
  entry = {};
  entry.number = number;
  entry.came = at;
  assign_text(entry.event, event, max_event);
}

void Journal::remember(Method method, std::string_view uid, Bytes plaintext) {
  const std::lock_guard lock(mutex_);
  Remembered& kept = remembered_[static_cast<std::size_t>(method)];
  assign_text(kept.uid, uid);
  kept.size = plaintext.size();
  kept.is_there = true;
  const Bytes keep = plaintext.size() <= max_plaintext ? plaintext : Bytes();
  if (kept.plaintext.size() != keep.size()) kept.plaintext = SecretBytes(keep.size());
  std::copy(keep.begin(), keep.end(), kept.plaintext.data());
}

void Journal::read(std::uint64_t after, mock_kms::v1::JournalPage& page) const {
  const std::lock_guard lock(mutex_);
  for (const Entry* entry : entries_after(after)) {
    auto& to = *page.add_calls();
    to.set_number(entry->number);
    write(*entry, to);
  }
}

void Journal::write(const Entry& from, mock_kms::v1::CallRecord& to) {
  *to.mutable_at() = wall_time(from.came);
  if (!from.event.empty()) {
    to.set_event(from.event);
    return;
  }
  to.set_method(from.path.empty() ? method_names[static_cast<std::size_t>(from.method)] : from.path);
  to.set_uid(from.uid);
  std::string key_id = from.key_id;  // a fault may have put bytes in it that are not UTF-8
  std::replace_if(
      key_id.begin(), key_id.end(), [](char c) { return static_cast<unsigned char>(c) > 0x7F; }, '?');
  to.set_key_id(std::move(key_id));
  to.set_request_bytes(from.request_bytes);
  to.set_response_bytes(from.response_bytes);
  to.set_code(code_name(from.code));
  *to.mutable_latency() = to_proto(from.latency);
  to.set_fault(from.fault);
  to.set_connection(from.connection);
}

void Journal::write(const Counts& from, mock_kms::v1::CallCounts& to, bool zeros) {
  for (std::size_t method = 0; method < from.size(); ++method) {
    for (std::size_t code = 0; code < from[method].size(); ++code) {
      const Count& count = from[method][code];
      if (count.calls == 0 && (!zeros || method == static_cast<std::size_t>(Method::other))) continue;
      auto& line = *to.add_counts();
      line.set_method(method_names[method]);
      line.set_code(code_name(static_cast<int>(code)));
      line.set_calls(count.calls);
      line.set_faulted(count.faulted);
    }
  }
}

void Journal::count_all(mock_kms::v1::CallCounts& counts, bool zeros) const {
  const std::lock_guard lock(mutex_);
  write(counts_, counts, zeros);
}

void Journal::count_since(Clock::time_point since, mock_kms::v1::CallCounts& counts) const {
  const std::lock_guard lock(mutex_);
  Counts found{};
  for (const Entry* one : entries_after(0)) {
    if (one->came < since || !one->event.empty()) continue;
    Count& count = found[static_cast<std::size_t>(one->method)][static_cast<std::size_t>(one->code)];
    ++count.calls;
    if (!one->fault.empty()) ++count.faulted;
  }
  write(found, counts);
  counts.set_incomplete(others_.has_forgotten(since));
  counts.set_status_incomplete(good_statuses_.has_forgotten(since));
}

void Journal::last_plaintexts(bool reveal, mock_kms::v1::LastPlaintextsReply& reply) const {
  const std::lock_guard lock(mutex_);
  const auto write_one = [&](Method method, auto make) {
    const Remembered& kept = remembered_[static_cast<std::size_t>(method)];
    if (!kept.is_there) return;
    mock_kms::v1::LastPlaintext& to = make();
    to.set_uid(kept.uid);
    to.set_size(kept.size);
    if (kept.plaintext.size() != kept.size) return;  // too large to be kept
    to.set_sha256(sha256_hex(kept.plaintext.view()));
    if (reveal) to.set_plaintext(std::string(text_of(kept.plaintext.view())));
  };
  write_one(Method::encrypt, [&]() -> mock_kms::v1::LastPlaintext& { return *reply.mutable_encrypt(); });
  write_one(Method::decrypt, [&]() -> mock_kms::v1::LastPlaintext& { return *reply.mutable_decrypt(); });
}

}  // namespace kms::provider
