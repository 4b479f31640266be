#include "supervisor/daemon/termination_message.h"

#include <algorithm>
#include <numeric>

#include "common/log/termination_message.h"

namespace kms::supervisor {
namespace {

constexpr std::size_t max_lines_with_cause = 32;  ///< more lines have no room for causes
constexpr std::size_t max_ranges = 8;             ///< of the numbers in one line

/// Instances that share a line.
struct Group {
  std::string text;
  std::vector<unsigned> numbers;   ///< ascending
  const mock_kms::v1::Exit* exit;  ///< of the first of them
};

std::vector<Group> grouped(const std::vector<FailedInstance>& failed, bool with_cause) {
  std::vector<Group> groups;
  for (const FailedInstance& one : failed) {
    const std::string text =
        with_cause ? "the plugin " + one.exit->status() + ": " + one.exit->cause() : one.exit->status();
    const auto known =
        std::find_if(groups.begin(), groups.end(), [&](const Group& group) { return group.text == text; });
    if (known != groups.end()) {
      known->numbers.push_back(one.number);
    } else {
      groups.push_back({text, {one.number}, one.exit});
    }
  }
  return groups;
}

/// For groups of the same status: the cause of one stands for the others.
void add_first_causes(std::vector<Group>& groups) {
  for (Group& group : groups) {
    group.text = "the plugin " + group.text + (group.numbers.size() > 1 ? "; the first: " : ": ") +
                 group.exit->cause();
  }
}

/// "instance 3: ", "instances 1-3, 7: " or "instances 1, 3, 5 and 40 more: "; "" for the only instance.
std::string names_of(const std::vector<unsigned>& numbers) {
  if (numbers.front() == 0) return "";
  std::string text;
  std::size_t ranges = 0;
  std::size_t next = 0;
  for (; next < numbers.size() && ranges < max_ranges; ++ranges) {
    const std::size_t first = next++;
    while (next < numbers.size() && numbers[next] == numbers[next - 1] + 1) ++next;
    text += (text.empty() ? "" : ", ") + std::to_string(numbers[first]);
    if (next - first > 1) text += "-" + std::to_string(numbers[next - 1]);
  }
  if (next < numbers.size()) text += " and " + std::to_string(numbers.size() - next) + " more";
  return (numbers.size() == 1 ? "instance " : "instances ") + text + ": ";
}

/// Cuts the longest lines until all fit into `max` bytes together. Each keeps its end of line.
std::string fitted(const std::vector<std::string>& lines, std::size_t max) {
  std::vector<std::size_t> by_size(lines.size());
  std::iota(by_size.begin(), by_size.end(), 0);
  std::sort(by_size.begin(), by_size.end(),
            [&](std::size_t a, std::size_t b) { return lines[a].size() < lines[b].size(); });
  std::vector<std::string> cut(lines.size());
  for (std::size_t i = 0; i < by_size.size(); ++i) {
    const std::size_t share = max / (by_size.size() - i);
    if (share == 0) continue;
    std::string& line = cut[by_size[i]];
    line = termination_text(lines[by_size[i]], share - 1) + "\n";
    max -= line.size();
  }
  return std::accumulate(cut.begin(), cut.end(), std::string());
}

/// As many of a process' newest lines as fit into `max` bytes, oldest first. The newest is cut if it is
/// longer.
std::string newest_lines(const mock_kms::v1::Exit& exit, std::size_t max) {
  constexpr std::string_view mark = "| ";
  std::string lines;
  for (int i = exit.last_lines_size() - 1; i >= 0; --i) {
    std::string line = std::string(mark) + exit.last_lines(i);
    if (lines.empty() && max > mark.size() + 1) line = termination_text(line, max - 1);
    if (lines.size() + line.size() + 1 > max) break;
    lines.insert(0, line + "\n");
  }
  return lines;
}

}  // namespace

std::string termination_message(const std::vector<FailedInstance>& failed) {
  std::string message = "supervisor: ended on its own; ";
  if (failed.empty()) return message;
  std::vector<Group> groups = grouped(failed, true);
  if (groups.size() > max_lines_with_cause) {
    groups = grouped(failed, false);
    if (groups.size() <= max_lines_with_cause) add_first_causes(groups);
  }
  std::vector<std::string> causes;
  causes.reserve(groups.size());
  for (const Group& group : groups) causes.push_back(names_of(group.numbers) + group.text);
  message += fitted(causes, max_termination_message - message.size());
  const std::size_t share = (max_termination_message - message.size()) / groups.size();
  for (const Group& group : groups) message += newest_lines(*group.exit, share);
  return message;
}

}  // namespace kms::supervisor
