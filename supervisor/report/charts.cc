#include "supervisor/report/charts.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "common/text/protobuf.h"
#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor::report {
namespace {

using mock_kms::v1::CallBucket;
using mock_kms::v1::PluginReport;
using mock_kms::v1::Span;
using namespace std::chrono_literals;

constexpr int state_height = 20;
constexpr int key_height = 16;
constexpr int calls_height = 46;
constexpr int lease_height = 30;
constexpr double widest_gap = 12;  ///< percent of the width between two ticks, at least half of it

/// At most two decimals, and no zeros at the end: the page has thousands of numbers.
std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", value);
  std::string shortest = text.data();
  shortest.erase(shortest.find_last_not_of('0') + 1);
  if (shortest.ends_with('.')) shortest.pop_back();
  return shortest;
}

std::string html_name(const std::string& kind) { return escape(kind, 64); }

/// Draws the marks of one track, between the grid and the bands of the faults.
class Track {
 public:
  Track(const PluginReport& plugin, const Axis& axis, const Times& times, int height,
        const std::string& label)
      : axis_(axis), times_(times), height_(height) {
    add(html_, {"<svg class=\"track\" height=\"", std::to_string(height), "\" role=\"group\" aria-label=\"",
                label, " of ", escape(plugin.name(), 200), "\"><use href=\"#grid\"/>"});
    for (const Span& fault : plugin.faults()) rect("band", fault.from(), fault.to(), 0, height, "");
  }

  /// `title` is HTML. Without one the rectangle is only decoration.
  void rect(const std::string& classes, const google::protobuf::Timestamp& from,
            const google::protobuf::Timestamp& to, double y, double height, const std::string& title) {
    const double x = axis_.position(from);
    const std::string place = "x=\"" + number(x) + "%\" width=\"" +
                              number(std::max(axis_.position(to) - x, 0.04)) + "%\" y=\"" + number(y) +
                              "\" height=\"" + number(height) + "\"";
    if (title.empty()) return add(html_, {"<rect class=\"", classes, "\" ", place, "/>"});
    add(html_, {"<rect class=\"m ", classes, "\" ", place, focus(), " role=\"img\" data-a=\"",
                milliseconds(from), "\"><title>", title, "</title></rect>"});
  }

  void shape(const std::string& classes, const google::protobuf::Timestamp& at, const std::string& path,
             double y, const std::string& title) {
    add(html_, {"<svg class=\"point\" x=\"", axis_.at(at), "%\" y=\"", number(y),
                "\" overflow=\"visible\"><path class=\"m ", classes, "\" d=\"", path, "\"", focus(),
                " role=\"img\" data-a=\"", milliseconds(at), "\"><title>", title, "</title></path></svg>"});
  }

  /// A text that is cut where the span ends.
  void text_in(const std::string& classes, const Span& span, double y, const std::string& text) {
    const double width = axis_.position(span.to()) - axis_.position(span.from());
    if (width < 3) return;
    add(html_, {"<svg x=\"", axis_.at(span.from()), "%\" width=\"", number(width), "%\" height=\"",
                std::to_string(height_), "\" aria-hidden=\"true\"><text paint-order=\"stroke\" class=\"",
                classes, "\" x=\"5\" y=\"", number(y), "\">", text, "</text></svg>"});
  }

  void raw(const std::string& html) { html_ += html; }

  [[nodiscard]] std::string period(const google::protobuf::Timestamp& from,
                                   const google::protobuf::Timestamp& to, bool open) const {
    return times_.text(from) + " to " + (open ? "the end of the evidence" : times_.text(to)) + " UTC, " +
           human_duration(from_proto(to) - from_proto(from));
  }

  [[nodiscard]] std::string row(const std::string& label) {
    return "<div class=\"row\"><span>" + label + "</span>" + html_ + "</svg></div>\n";
  }

 private:
  /// The tab key stops at the first mark of a track.
  std::string focus() { return std::exchange(focusable_, true) ? "" : " tabindex=\"0\""; }

  const Axis& axis_;
  const Times& times_;
  int height_;
  bool focusable_ = false;
  std::string html_;
};

std::string states_track(const PluginReport& plugin, const Axis& axis, const Times& times) {
  Track track(plugin, axis, times, state_height, "States");
  if (plugin.states().empty()) {
    track.raw(
        "<rect class=\"unknown\" width=\"100%\" height=\"20\"/><text class=\"on\" paint-order=\"stroke\" "
        "x=\"6\" y=\"14\">no status "
        "and no events were read</text>");
    return track.row("state");
  }
  const auto draw = [&](const Span& span) {
    track.rect(span.kind() == "unknown" ? "unknown" : "s-" + span.kind(), span.from(), span.to(), 2,
               state_height - 4,
               span.kind() + ", " + track.period(span.from(), span.to(), span.open()) +
                   (span.text().empty() ? "" : ": " + escape(span.text(), 160)));
  };
  // The others are drawn over the long ones, so that a short outage is visible.
  for (const Span& span : plugin.states()) {
    if (span.kind() == "serving") draw(span);
  }
  for (const Span& span : plugin.states()) {
    if (span.kind() != "serving") draw(span);
  }
  for (const Span& span : plugin.states()) {
    if (span.kind() != "serving")
      track.text_in("on", span, 14,
                    span.kind() + (span.text().empty() ? "" : ": " + escape(span.text(), 80)));
  }
  return track.row("state");
}

std::string keys_track(const PluginReport& plugin, const Axis& axis, const Times& times) {
  Track track(plugin, axis, times, key_height, "Keys");
  std::map<std::string, std::size_t> colours;
  for (const Span& key : plugin.keys()) {
    const std::size_t colour = colours.try_emplace(key.kind(), colours.size()).first->second % 3;
    track.rect("k" + std::to_string(colour), key.from(), key.to(), 1, key_height - 2,
               "key_id " + html_name(key.kind()) + ", " + track.period(key.from(), key.to(), key.open()));
    track.text_in("in", key, 12, html_name(key.kind()));
  }
  for (int i = 1; i < plugin.keys_size(); ++i) {
    const Span& key = plugin.keys(i);
    track.shape("rotation", key.from(), "M0 0L5 5L0 10L-5 5Z", 3,
                "The key changed at " + times.text(key.from()) +
                    " UTC: " + html_name(plugin.keys(i - 1).kind()) + " to " + html_name(key.kind()));
  }
  return track.row("key");
}

/// A row for each fault, so that those of the same time do not hide each other. The last row has the rest.
std::string fault_tracks(const PluginReport& plugin, const Axis& axis, const Times& times) {
  constexpr std::size_t max_rows = 6;
  std::map<std::string, std::size_t> rows;
  for (const Span& fault : plugin.faults())
    rows.try_emplace(fault.kind(), std::min(rows.size(), max_rows - 1));
  std::string html;
  for (std::size_t row = 0; row < std::min(rows.size(), max_rows); ++row) {
    Track track(plugin, axis, times, key_height, "Injected faults");
    for (const Span& fault : plugin.faults()) {
      if (rows.at(fault.kind()) != row) continue;
      track.rect("fault", fault.from(), fault.to(), 1, key_height - 2,
                 "injected fault " + html_name(fault.kind()) + ", " +
                     track.period(fault.from(), fault.to(), fault.open()) +
                     (fault.text().empty() ? "" : ": " + escape(fault.text(), 300)));
      track.text_in("on", fault, 12, html_name(fault.kind()));
    }
    html += track.row(row == 0 ? "faults" : "");
  }
  return html;
}

std::string calls_track(const PluginReport& plugin, const Axis& axis, const Times& times,
                        std::chrono::nanoseconds bucket, unsigned max_calls) {
  Track track(plugin, axis, times, calls_height, "Calls");
  const double seconds = std::chrono::duration<double>(bucket).count();
  const google::protobuf::Timestamp start =
      plugin.states().empty() ? plugin.journal_from() : plugin.states(0).from();
  if (!plugin.has_journal_from()) {
    track.raw(
        "<rect class=\"unknown\" width=\"100%\" height=\"46\"/><text class=\"on\" paint-order=\"stroke\" "
        "x=\"6\" y=\"28\">no "
        "journal was read</text>");
  } else if (from_proto(start) + bucket < from_proto(plugin.journal_from())) {
    track.rect("unknown", start, plugin.journal_from(), 4, calls_height - 5,
               "No calls are recorded before " + times.text(plugin.journal_from()) +
                   " UTC: the journal is bounded, and it ends with its process");
  }
  const double usable = calls_height - 12;
  for (const CallBucket& one : plugin.calls()) {
    const google::protobuf::Timestamp end = to_timestamp(
        from_proto(one.at()) + std::chrono::duration_cast<std::chrono::system_clock::duration>(bucket));
    const unsigned all = one.status() + one.encrypt() + one.decrypt() + one.other();
    double bottom = calls_height;
    for (const auto& [classes, count] : {std::pair{"c-status", one.status()},
                                         {"c-encrypt", one.encrypt()},
                                         {"c-decrypt", one.decrypt()},
                                         {"c-other", one.other()}}) {
      if (count == 0) continue;
      const double height = std::max(usable * count / max_calls, 1.0);
      bottom -= height;
      track.rect(classes, one.at(), end, bottom, height, "");
    }
    const std::string text = times.text(one.at()) + " UTC, " + human_duration(bucket) + ": " +
                             std::to_string(all) + " calls, " + number(all / seconds) +
                             " per second (Status " + std::to_string(one.status()) + ", Encrypt " +
                             std::to_string(one.encrypt()) + ", Decrypt " + std::to_string(one.decrypt()) +
                             (one.other() > 0 ? ", other " + std::to_string(one.other()) : "") + "); " +
                             std::to_string(one.failed()) + " failed";
    track.rect("hit", one.at(), end, 0, calls_height, text);
    // The middle of the bucket.
    if (one.failed() > 0) {
      const auto middle = to_timestamp(
          from_proto(one.at()) + std::chrono::duration_cast<std::chrono::system_clock::duration>(bucket / 2));
      track.shape("c-failed", middle, "M-5 0H5L0 8Z", 1,
                  std::to_string(one.failed()) + " failed calls in the " + human_duration(bucket) + " from " +
                      times.text(one.at()) + " UTC");
    }
  }
  return track.row("calls<br>per s");
}

std::string lease_track(const PluginReport& plugin, const Axis& axis, const Times& times) {
  Track track(plugin, axis, times, lease_height, "Lease of the API server");
  if (plugin.lease().empty()) {
    track.raw("<text class=\"scale\" x=\"4\" y=\"19\">never served</text>");
    return track.row("lease");
  }
  const double full = std::chrono::duration<double>(write_lease).count();
  const auto y = [&](const mock_kms::v1::LeasePoint& point) {
    return number(100 - 100 * std::chrono::duration<double>(from_proto(point.left())).count() / full);
  };
  const auto x = [&](const mock_kms::v1::LeasePoint& point) {
    return number(10 * axis.position(point.at()));
  };
  std::string path = "M" + x(plugin.lease(0)) + " 100";
  for (const auto& point : plugin.lease()) add(path, {"L", x(point), " ", y(point)});
  add(path, {"V100Z"});
  const int limit = lease_height - lease_height * 60 / 180;
  add(path, {"\"/></svg><line class=\"limit\" x1=\"0\" x2=\"100%\" y1=\"", std::to_string(limit), "\" y2=\"",
             std::to_string(limit), "\"/>"});
  track.raw(
      "<svg width=\"100%\" height=\"30\" viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" "
      "aria-hidden=\"true\"><path class=\"lease\" vector-effect=\"non-scaling-stroke\" d=\"" +
      path);
  for (int i = 1; i < plugin.lease_size(); ++i) {
    const auto left = from_proto(plugin.lease(i).left());
    if (left > smallest_dip || (i + 1 < plugin.lease_size() && from_proto(plugin.lease(i + 1).left()) < left))
      continue;
    track.rect("hit", plugin.lease(i - 1).at(), plugin.lease(i).at(), 0, lease_height,
               "The lease ran down to " + human_duration(left) + " of 3m 00s at " +
                   times.text(plugin.lease(i).at()) + " UTC");
  }
  if (plugin.has_lowest_lease() && from_proto(plugin.lowest_lease()) > smallest_dip)
    track.rect("hit", plugin.lease(0).at(), plugin.lease(plugin.lease_size() - 1).at(), 0, lease_height,
               "The lease stayed above 2m 59s");
  return track.row("lease<br>180 s");
}

}  // namespace

Axis::Axis(const mock_kms::v1::Report& report)
    : from_(from_proto(report.from())), to_(from_proto(report.to())) {
  if (to_ <= from_) to_ = from_ + 1s;
}

double Axis::position(const google::protobuf::Timestamp& time) const {
  using Seconds = std::chrono::duration<double>;
  return std::clamp(100 * Seconds(from_proto(time) - from_).count() / Seconds(to_ - from_).count(), 0.0,
                    100.0);
}

std::string Axis::at(const google::protobuf::Timestamp& time) const { return number(position(time)); }

std::vector<Axis::Tick> Axis::ticks() const {
  static constexpr std::array<std::chrono::seconds, 20> steps{
      1s, 2s, 5s, 10s, 15s, 30s, 1min, 2min, 5min, 10min, 15min, 30min, 1h, 2h, 3h, 6h, 12h, 24h, 48h, 168h};
  const auto covered = to_ - from_;
  const auto* fitting =
      std::find_if(steps.begin(), steps.end(), [&](auto one) { return one * 100 / widest_gap >= covered; });
  // Such a span has a damaged clock in it.
  const auto step = fitting != steps.end() ? *fitting : std::chrono::ceil<std::chrono::seconds>(covered / 8);
  std::vector<Tick> ticks;
  for (auto at = std::chrono::ceil<std::chrono::seconds>(from_); at <= to_; at += 1s) {
    if (at.time_since_epoch() % step != 0s) {
      at += step - at.time_since_epoch() % step - 1s;
      continue;
    }
    const std::string full = rfc3339(at);
    const std::string day = full.substr(5, 5);
    ticks.push_back({position(to_timestamp(at)),
                     step >= 12h ? (covered > 24h * 365 ? full.substr(0, 10) : day)
                                 : (covered > 24h ? day + " " : "") +
                                       (step < 1min ? full.substr(11, 8) : full.substr(11, 5))});
  }
  return ticks;
}

std::string Axis::labels() const {
  std::string html = "<div class=\"axis\"><span></span><svg height=\"18\" aria-hidden=\"true\">";
  const auto all = ticks();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string anchor = all[i].position < 3 ? "start" : all[i].position > 97 ? "end" : "middle";
    add(html, {"<text x=\"", number(all[i].position), "%\" y=\"13\" text-anchor=\"", anchor,
               i % 3 == 0 ? "\">" : "\" class=\"minor\">", all[i].label, "</text>"});
  }
  return html + "</svg></div>\n";
}

std::string Axis::grid() const {
  std::string html = "<g id=\"grid\">";
  for (const Tick& tick : ticks())
    add(html, {"<line class=\"tick\" x1=\"", number(tick.position), "%\" x2=\"", number(tick.position),
               "%\" y1=\"0\" y2=\"46\"/>"});
  return html + "</g>";
}

std::string tracks(const PluginReport& plugin, const Axis& axis, const Times& times,
                   std::chrono::nanoseconds bucket, unsigned max_calls) {
  return states_track(plugin, axis, times) + keys_track(plugin, axis, times) +
         fault_tracks(plugin, axis, times) + calls_track(plugin, axis, times, bucket, max_calls) +
         lease_track(plugin, axis, times);
}

std::string legend() {
  std::string html = "<ul class=\"legend\" aria-label=\"Legend\">";
  for (const auto& [classes, text] : {std::pair{"s-serving", "serving"},
                                      {"s-starting", "starting"},
                                      {"s-outage", "outage"},
                                      {"s-unresponsive", "unresponsive (hang)"},
                                      {"s-unhealthy", "unhealthy"},
                                      {"s-paused", "paused"},
                                      {"s-stopped", "stopped"},
                                      {"fault", "injected fault"},
                                      {"c-status", "Status"},
                                      {"c-encrypt", "Encrypt"},
                                      {"c-decrypt", "Decrypt"},
                                      {"unknown", "not recorded"}}) {
    add(html, {"<li><svg width=\"18\" height=\"12\" aria-hidden=\"true\"><rect class=\"", classes,
               "\" width=\"18\" height=\"12\"/></svg>", text, "</li>"});
  }
  for (const auto& [classes, path, text] : {std::tuple{"c-failed", "M4 2H14L9 10Z", "failed calls"},
                                            {"rotation", "M9 1L14 6L9 11L4 6Z", "the key changed"},
                                            {"limit", "M0 6H18", "60 s of the lease"}}) {
    add(html, {"<li><svg width=\"18\" height=\"12\" aria-hidden=\"true\"><path class=\"", classes, "\" d=\"",
               path, "\"/></svg>", text, "</li>"});
  }
  return html + "</ul>\n";
}

}  // namespace kms::supervisor::report
