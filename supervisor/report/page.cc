#include "supervisor/report/page.h"

#include <algorithm>
#include <map>
#include <set>

#include "common/text/counted.h"
#include "common/text/protobuf.h"
#include "supervisor/report/charts.h"
#include "supervisor/report/html.h"
#include "supervisor/report/page_html.h"

namespace kms::supervisor::report {
namespace {

using mock_kms::v1::PluginReport;
using mock_kms::v1::Report;

constexpr std::size_t max_cluster_events = 200;

std::string code(const std::string& text, std::size_t max = 2000) {
  return text.empty() ? "" : "<code>" + escape(text, max) + "</code>";
}
std::string count_cell(std::uint64_t count) { return "<td class=\"num\">" + std::to_string(count) + "</td>"; }
std::string row_header(const std::string& text) { return "<th scope=\"row\">" + escape(text) + "</th>"; }

unsigned calls_in(const mock_kms::v1::CallBucket& bucket) {
  return bucket.status() + bucket.encrypt() + bucket.decrypt() + bucket.other();
}

std::string section(const std::string& id, const std::string& title, const std::string& content) {
  return "<section id=\"" + id + "\" aria-labelledby=\"" + id + "-h\"><h2 id=\"" + id + "-h\">" + title +
         "</h2>\n" + content + "</section>\n";
}

std::string note(const std::string& text) { return "<p class=\"note\">" + text + "</p>\n"; }

/// A table that most readers do not need is closed.
std::string folded(const std::string& summary, const std::string& content) {
  return "<details><summary>" + summary + "</summary>\n" + content + "</details>\n";
}

std::string verdict(const Report& report) {
  const auto& [mark, word] = report.severity() == Report::GOOD      ? std::pair{"✓", "Good"}
                             : report.severity() == Report::WARNING ? std::pair{"!", "Look closer"}
                                                                    : std::pair{"✕", "Bad"};
  return "<div class=\"verdict " + Report::Severity_Name(report.severity()) +
         "\"><span class=\"mark\" aria-hidden=\"true\">" + mark +
         "</span><p class=\"text\"><span class=\"word\">" + word + ":</span> " + escape(report.verdict()) +
         "</p></div>\n";
}

std::string tiles(const Report& report) {
  std::uint64_t calls = 0;
  std::uint64_t failed = 0;
  std::set<std::string> keys;
  std::set<std::string> faults;
  Duration lowest = max_duration;
  for (const PluginReport& plugin : report.plugins()) {
    for (const auto& bucket : plugin.calls()) {
      calls += calls_in(bucket);
      failed += bucket.failed();
    }
    for (const auto& key : plugin.keys()) keys.insert(key.kind());
    for (const auto& fault : plugin.faults()) faults.insert(fault.kind());
    if (plugin.has_lowest_lease()) lowest = std::min(lowest, from_proto(plugin.lowest_lease()));
  }
  Duration outage{0};
  for (const auto& one : report.outages()) outage += from_proto(one.length());
  const auto healthy = std::count_if(report.plugins().begin(), report.plugins().end(),
                                     [](const PluginReport& plugin) { return plugin.healthy(); });
  std::string html = "<ul class=\"tiles\" aria-label=\"Key figures\">";
  const auto tile = [&](const std::string& figure, const std::string& text) {
    add(html, {"<li><b>", figure, "</b> <span>", text, "</span></li>"});
  };
  tile(std::to_string(healthy) + " of " + std::to_string(report.plugins_size()), "plugins healthy");
  tile(std::to_string(report.outages_size()),
       report.outages().empty() ? "outages" : "outages, " + human_duration(outage) + " in all");
  tile(std::to_string(failed) + " of " + std::to_string(calls), "recorded calls failed");
  tile(std::to_string(keys.size()), keys.size() == 1 ? "key_id seen" : "key_ids seen");
  tile(std::to_string(faults.size()), faults.size() == 1 ? "fault injected" : "faults injected");
  tile(lowest == max_duration ? "unknown" : human_duration(lowest), "lowest lease (full: 3m 00s)");
  return html + "</ul>\n";
}

std::string lane(const PluginReport& plugin, const std::string& drawn) {
  const std::string tone = plugin.healthy() ? "GOOD" : plugin.reported() ? "BAD" : "WARNING";
  std::string about = "<span class=\"chip " + tone + "\">" +
                      (plugin.healthy()    ? "✓ healthy"
                       : plugin.reported() ? "✕ not healthy"
                                           : "? no status") +
                      "</span>";
  const auto line = [&](const std::string& text) { add(about, {"<br>\n", text}); };
  line(escape(plugin.pod(), 100));
  if (plugin.reported()) line(counted(plugin.restarts(), "restart"));
  if (!plugin.key_id().empty()) line("key " + code(plugin.key_id(), 100));
  if (plugin.has_lease_left()) line("lease " + human_duration(from_proto(plugin.lease_left())));
  return "<div class=\"lane\"><div class=\"who\"><h3>" + escape(plugin.name(), 200) + "</h3>" + about +
         "</div><div>" + drawn + "</div></div>\n";
}

/// The tables with the marks of the charts.
std::string timeline_tables(const Report& report, const Times& times) {
  Table states("States, keys, faults and lease of each plugin",
               {"From", "To", "Length", "Plugin", "Kind", "Text"});
  Table calls("Calls of each plugin",
              {"From (UTC)", "Plugin", "Status", "Encrypt", "Decrypt", "Other", "Failed", "With a fault"});
  for (const PluginReport& plugin : report.plugins()) {
    const auto spans = [&](const auto& all, const std::string& kind) {
      for (const auto& span : all) {
        states.row(
            {times.text(span.from()), span.open() ? "end of the evidence" : times.text(span.to()),
             human_duration(from_proto(span.to()) - from_proto(span.from())), escape(plugin.name(), 200),
             (kind.empty() ? "" : kind + " ") + (kind.empty() ? escape(span.kind(), 200) : code(span.kind())),
             escape(span.text(), 300)});
      }
    };
    spans(plugin.states(), "");
    spans(plugin.keys(), "key_id");
    spans(plugin.faults(), "fault");
    for (const auto& point : plugin.lease()) {
      if (from_proto(point.left()) <= smallest_dip)
        states.row({times.element(point.at()), "", "", escape(plugin.name(), 200), "lease",
                    human_duration(from_proto(point.left())) + " left"});
    }
    for (const auto& one : plugin.calls())
      calls.row({times.element(one.at()), escape(plugin.name(), 200), count_cell(one.status()),
                 count_cell(one.encrypt()), count_cell(one.decrypt()), count_cell(one.other()),
                 count_cell(one.failed()), count_cell(one.faulted())});
  }
  return folded("Table: states, keys, faults and lease", states.html()) +
         folded("Table: calls in periods of " + human_duration(from_proto(report.call_bucket())),
                calls.html());
}

std::string timeline(const Report& report, const Axis& axis, const Times& times) {
  unsigned max_calls = 1;
  for (const PluginReport& plugin : report.plugins()) {
    for (const auto& bucket : plugin.calls()) max_calls = std::max(max_calls, calls_in(bucket));
  }
  const auto bucket = from_proto(report.call_bucket());
  const double rate = max_calls / std::chrono::duration<double>(bucket).count();
  std::string html =
      note("Times are UTC, " + times.days() + ". A bar of calls stands for " + human_duration(bucket) +
           "; the highest one is " + counted(max_calls, "call") + ", " +
           (rate < 10 ? std::to_string(rate).substr(0, 4) : std::to_string(static_cast<long long>(rate))) +
           " per second. Calls of Status include the supervisor's probes.") +
      legend() + axis.labels();
  for (const PluginReport& plugin : report.plugins())
    html += lane(plugin, tracks(plugin, axis, times, bucket, max_calls));
  return section("timeline", "Timeline", html + axis.labels() + timeline_tables(report, times));
}

std::string outages(const Report& report, const Times& times) {
  Table table("Outages, oldest first", {"Began (UTC)", "Plugin", "Length", "Cause"}, "class=\"stack\"");
  for (const auto& one : report.outages())
    table.row({times.element(one.from()), escape(one.plugin(), 200),
               human_duration(from_proto(one.length())) +
                   (one.open() ? " <span class=\"flag\">not over</span>" : ""),
               escape(one.cause(), 600)});
  return section("outages", "Outages", table.empty() ? note("No outage is recorded.") : table.html());
}

std::string failed_calls(const Report& report, const Times& times) {
  Table table("Failed calls by plugin, method, code and fault",
              {"Calls", "Plugin", "Method", "Code", "Fault", "First", "Last", "key_id and uid of the last"},
              "class=\"stack\"");
  for (const auto& one : report.failed_calls())
    table.row({count_cell(one.calls()), escape(one.plugin(), 200), escape(one.method(), 100),
               code(one.code()), escape(one.fault(), 200), times.element(one.first()),
               times.element(one.last()), code(one.key_id()) + " " + code(one.uid())});
  return section("failed", "Failed calls",
                 note("Only calls that the journals still hold. A journal keeps 1000 good calls of Status "
                      "and 1000 other entries of one process.") +
                     (table.empty() ? note("No failed call is recorded.") : table.html()));
}

std::string call_counts(const Report& report) {
  Table table("Calls since the start of the plugin's last process",
              {"Plugin", "Method", "Code", "Calls", "With a fault"}, "class=\"stack\"");
  for (const PluginReport& plugin : report.plugins()) {
    for (const auto& count : plugin.counts())
      table.row({escape(plugin.name(), 200), escape(count.method(), 100), code(count.code()),
                 count_cell(count.calls()), count_cell(count.faulted())});
  }
  return section("counts", "All calls", table.empty() ? note("No counters were read.") : table.html());
}

std::string differences(const Report& report) {
  std::vector<std::string> headers{"Subject", "Result"};
  for (const PluginReport& plugin : report.plugins()) headers.push_back(escape(plugin.name(), 100));
  Table table("Differences between the plugins", headers);
  for (const auto& row : report.differences()) {
    const auto known = std::count_if(row.values().begin(), row.values().end(),
                                     [](const std::string& value) { return !value.empty(); });
    std::vector<std::string> cells{row_header(row.name()), row.differs()
                                                               ? "<span class=\"flag\">≠ differs</span>"
                                                           : known > 1 ? "same"
                                                                       : "not compared"};
    for (const std::string& value : row.values()) cells.push_back(value.empty() ? "unknown" : code(value));
    table.row(cells);
  }
  return section("differences", "Differences between nodes", table.html());
}

std::string builds(const Report& report, const Times& times) {
  Table table(
      "Builds and ends of processes",
      {"Plugin", "Repository and commit", "Binary", "Built", "Compiler", "Processes that ended, by cause"},
      "class=\"stack\"");
  for (const PluginReport& plugin : report.plugins()) {
    const auto& build = plugin.build();
    std::string ends;
    for (const auto& end : plugin.ends())
      ends += (ends.empty() ? "" : ", ") + escape(end.name(), 100) + " " +
              std::to_string(static_cast<long long>(end.value()));
    table.row({escape(plugin.name(), 200),
               escape(build.repository(), 300) + " " + escape(build.ref(), 100) + " " + code(build.commit()),
               escape(build.binary().version(), 200) + " " + code(build.binary().sha256().substr(0, 16)),
               build.has_built_at()
                   ? times.element(build.built_at()) + (build.from_cache() ? " from the cache" : "")
                   : "",
               escape(build.compiler().version(), 200), ends.empty() ? "none counted" : ends});
  }
  return section("builds", "Builds and versions", table.html());
}

std::string events(const Report& report, const Times& times) {
  Table table("All events, oldest first", {"Time (UTC)", "Plugin", "Kind", "Event"}, "id=\"events\"");
  for (const auto& entry : report.timeline()) {
    std::string text = escape(entry.text(), 600);
    const std::map<std::string, std::string> details(entry.details().begin(), entry.details().end());
    std::string fields = entry.pid() == 0 ? "" : "pid " + std::to_string(entry.pid());
    for (const auto& [name, value] : details)
      add(fields, {fields.empty() ? "" : " · ", escape(name, 60), " ", escape(value, 300)});
    if (!fields.empty()) add(text, {"<br><small>", fields, "</small>"});
    table.row(
        {times.element(entry.at()), escape(entry.plugin(), 200), "<td class=\"kind\">" + entry.kind(), text});
  }
  const std::string filters =
      "<form class=\"filters\" id=\"filters\" hidden><label>Plugin<select name=\"plugin\"><option "
      "value=\"\">all</option></select></label>"
      "<label>Kind<select name=\"kind\"><option value=\"\">all</option></select></label>"
      "<label>Text<input name=\"word\" type=\"search\"></label><p aria-live=\"polite\"><output "
      "id=\"shown\"></output> events</p></form>\n";
  return section("all", "All events", table.empty() ? note("No event was read.") : filters + table.html());
}

std::string evidence(const Report& report) {
  std::string html;
  Table table("Files that are missing or damaged", {"File", "Problem"}, "class=\"stack\"");
  for (const auto& problem : report.problems())
    table.row({code(problem.file()), escape(problem.text(), 400)});
  html += table.empty() ? note("Every expected file was read in full.") : table.html();
  if (report.cluster_events().empty()) return section("evidence", "Evidence", html);
  std::string lines;
  const auto shown = std::min(max_cluster_events, static_cast<std::size_t>(report.cluster_events_size()));
  for (std::size_t i = 0; i < shown; ++i)
    add(lines, {escape(report.cluster_events(static_cast<int>(i)), 300), "\n"});
  return section("evidence", "Evidence",
                 html + folded("Events of the namespace, as the cluster listed them",
                               "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Events of "
                               "the namespace\"><pre>" +
                                   lines + "</pre></div>\n"));
}

/// Puts the values in the place of their "{{NAME}}". A value is not searched again: it may hold anything.
std::string filled(std::string_view skeleton, const std::map<std::string, std::string>& values) {
  std::string html;
  for (std::size_t at = 0; at < skeleton.size();) {
    const std::size_t open = std::min(skeleton.find("{{", at), skeleton.size());
    html += skeleton.substr(at, open - at);
    const std::size_t close = skeleton.find("}}", open);
    if (close == std::string_view::npos) return html.append(skeleton.substr(open));
    html += values.at(std::string(skeleton.substr(open + 2, close - open - 2)));
    at = close + 2;
  }
  return html;
}

}  // namespace

std::string page(const Report& report) {
  const Axis axis(report);
  const Times times(report.from(), report.to());
  const std::string title = "KMS plugin report";
  std::string body =
      "<div class=\"top\"><header><h1>" + title +
      (report.has_from() ? " · " + times.element(report.from()) + " to " + times.element(report.to()) + " UTC"
                         : "") +
      "</h1>\n" + verdict(report) + tiles(report) + "</header>\n";
  body += "<nav aria-label=\"Sections\"><ul>";
  for (const auto& [id, text] : {std::pair{"timeline", "Timeline"},
                                 {"outages", "Outages"},
                                 {"failed", "Failed calls"},
                                 {"differences", "Differences"},
                                 {"builds", "Builds"},
                                 {"counts", "All calls"},
                                 {"all", "All events"},
                                 {"evidence", "Evidence"}})
    add(body, {"<li><a href=\"#", id, "\">", text, "</a></li>"});
  body += "</ul></nav></div>\n<main id=\"main\" tabindex=\"-1\">\n" + timeline(report, axis, times) +
          outages(report, times) + failed_calls(report, times) + differences(report) + builds(report, times) +
          call_counts(report) + events(report, times) + evidence(report) +
          "</main>\n<footer>Made by <code>supervisor report</code>. Times are UTC; hover or focus a time or "
          "a mark for the local time.</footer>";
  return filled(page_html, {{"TITLE", title + ": " + escape(report.verdict(), 120)},
                            {"DESCRIPTION", escape(report.verdict(), 300)},
                            {"DEFS", axis.grid()},
                            {"BODY", body}});
}

}  // namespace kms::supervisor::report
