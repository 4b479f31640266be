#include "supervisor/report/evidence.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "common/error.h"
#include "common/text/escape.h"
#include "common/text/lines.h"
#include "supervisor/report/log_lines.h"

namespace kms::supervisor::report {
namespace {

namespace fs = std::filesystem;
using mock_kms::v1::EvidenceProblem;

constexpr std::size_t max_file = std::size_t{64} * 1024 * 1024;  ///< of a longer file the end is read
constexpr std::size_t max_files = 10'000;
constexpr std::size_t tar_block = 512;
constexpr std::uint64_t max_name = std::uint64_t{1024} * 1024;  ///< of a long name's entry
const std::string unreadable = "cannot be read: ";              ///< stands for the content of such a file

constexpr std::array<std::string_view, 10> expected_files{
    "status.json",          "events.json",
    "journal.json",         "counts.txt",
    "provider-metrics.txt", "supervisor-metrics.txt",
    "build-info.json",      "build-plugin.log",
    "supervisor.log",       "supervisor-previous.log",
};
constexpr std::string_view previous_log = "supervisor-previous.log";  ///< exists only after a restart
constexpr std::string_view build_log = "build-plugin.log";  ///< a plugin that is part of an image has none
constexpr std::string_view cluster_file = "events.txt";

bool is_evidence(const fs::path& path) {
  const std::string name = path.filename().string();
  return name == cluster_file ||
         std::find(expected_files.begin(), expected_files.end(), name) != expected_files.end();
}

void add_file(Files& files, const fs::path& path, std::string content) {
  if (files.content.size() >= max_files)
    throw Error("there are more than " + std::to_string(max_files) + " files of evidence",
                "name the directory of one job", ErrorCode::invalid_input);
  files.content[path.lexically_normal().string()] = std::move(content);
}

/// The file's last `max_file` bytes, or the reason why it cannot be read.
std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<std::streamoff>(in.tellg());
  if (!in || size < 0) return unreadable + errno_text(errno);
  in.seekg(std::max<std::streamoff>(0, size - static_cast<std::streamoff>(max_file)));
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

std::uint64_t octal(std::string_view field) {
  std::uint64_t value = 0;
  for (const char c : field) {
    if (c >= '0' && c <= '7') value = value * 8 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

/// By gzip, xz or zstd.
bool is_compressed(std::string_view block) {
  return block.starts_with("\x1F\x8B") ||
         block.starts_with(
             "\xFD"
             "7zXZ") ||
         block.starts_with("\x28\xB5\x2F\xFD");
}

std::string_view until_null(std::string_view field) { return field.substr(0, field.find('\0')); }

/// `path` of a pax header: "LENGTH path=VALUE\n".
std::string pax_path(const std::string& header) {
  const std::size_t start = header.find(" path=");
  if (start == std::string::npos) return "";
  return header.substr(start + 6, header.find('\n', start) - start - 6);
}

/// Fields of a newer program are ignored.
bool parse(const std::string& json, google::protobuf::Message& message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  message.Clear();
  return google::protobuf::util::JsonStringToMessage(json, &message, options).ok();
}

/// The step appends a client's errors to the JSON. They stand outside the first '{' and the last '}'.
bool parse_document(const std::string& text, google::protobuf::Message& message) {
  const std::size_t start = text.find('{');
  const std::size_t end = text.rfind('}');
  if (start == std::string::npos || end == std::string::npos || end < start) return false;
  const std::string document = text.substr(start, end - start + 1);
  return parse(document, message) || parse(utf8_text(document), message);
}

/// Reads the files of one pod.
class PodReader {
 public:
  PodReader(std::string place, const std::map<std::string, const std::string*>& files, Evidence& evidence)
      : place_(std::move(place)), files_(files), evidence_(evidence) {}

  void read(PodEvidence& pod) {
    for (const std::string_view name : expected_files) {
      const bool optional =
          name == previous_log || (name == build_log && content("build-info.json") != nullptr);
      if (!optional && content(name) == nullptr) problem(name, "is missing");
    }
    read_document("status.json", pod.status);
    read_document("build-info.json", pod.build);
    read_lines<mock_kms::v1::EventPage>("events.json", "events", [&](auto& page) {
      for (auto& event : *page.mutable_events()) pod.events.push_back(std::move(event));
    });
    read_lines<mock_kms::v1::JournalPage>("journal.json", "calls", [&](auto& page) {
      for (auto& call : *page.mutable_calls()) pod.journal.push_back(std::move(call));
    });
    read_counters(pod);
    read_logs(pod);
  }

 private:
  const std::string* content(std::string_view name) const {
    const auto found = files_.find(std::string(name));
    return found == files_.end() ? nullptr : found->second;
  }

  void problem(std::string_view name, const std::string& text) {
    evidence_.problems.push_back(problem_of(place_ + "/" + std::string(name), text));
  }

  /// The first line says why: the step keeps a client's errors in the file.
  static std::string quoted_start(const std::string& text) {
    return text.empty() ? "is empty"
           : text.starts_with(unreadable)
               ? text
               : "cannot be read; it begins with " + in_quotes(text.substr(0, text.find('\n')), 160);
  }

  template <class Message>
  void read_document(std::string_view name, std::optional<Message>& message) {
    const std::string* text = content(name);
    if (text == nullptr) return;
    Message read;
    if (parse_document(*text, read)) {
      message = std::move(read);
    } else {
      problem(name, quoted_start(*text));
    }
  }

  /// One object a line. Many lines are parsed at once, because the parser's set-up costs more than a line;
  /// only if that fails line by line.
  template <class Page, class Take>
  void read_lines(std::string_view name, const std::string& field, Take take) {
    constexpr std::size_t at_once = 1000;
    const std::string* text = content(name);
    if (text == nullptr) return;
    std::vector<std::string_view> objects;
    std::size_t damaged = 0;
    for (const std::string_view line : lines_of(*text)) {
      if (line.starts_with('{'))
        objects.push_back(line);
      else if (!line.empty())
        ++damaged;
    }
    const std::size_t lines = objects.size() + damaged;
    for (std::size_t i = 0; i < objects.size(); i += at_once) {
      const std::size_t end = std::min(objects.size(), i + at_once);
      damaged += read_objects<Page>({objects.begin() + static_cast<std::ptrdiff_t>(i),
                                     objects.begin() + static_cast<std::ptrdiff_t>(end)},
                                    field, take);
    }
    if (objects.empty() && damaged > 0) return problem(name, quoted_start(*text));
    if (damaged > 0)
      problem(name, std::to_string(damaged) + " of its " + std::to_string(lines) +
                        " lines are damaged and left out");
  }

  /// Returns the number of damaged objects.
  template <class Page, class Take>
  static std::size_t read_objects(const std::vector<std::string_view>& objects, const std::string& field,
                                  Take take) {
    const auto page_of = [&](const std::string& inside) { return "{\"" + field + "\":[" + inside + "]}"; };
    std::string joined;
    for (const std::string_view object : objects) joined.append(joined.empty() ? "" : ",").append(object);
    Page page;
    if (parse(page_of(joined), page)) {
      take(page);
      return 0;
    }
    std::size_t damaged = 0;
    for (const std::string_view object : objects) {
      if (parse(page_of(utf8_text(object)), page))
        take(page);
      else
        ++damaged;
    }
    return damaged;
  }

  /// counts.txt has the same calls as the metrics.
  void read_counters(PodEvidence& pod) {
    for (const std::string_view name : {"provider-metrics.txt", "supervisor-metrics.txt"}) {
      const std::string* text = content(name);
      if (text == nullptr) continue;
      if (text->starts_with("# HELP "))
        read_metrics(*text, pod);
      else
        problem(name, quoted_start(*text));
    }
    const std::string* text = content("counts.txt");
    if (text != nullptr && !text->starts_with("METHOD")) return problem("counts.txt", quoted_start(*text));
    if (text != nullptr && pod.counts.empty()) {
      for (const std::string_view line : lines_of(*text)) {
        std::istringstream words{std::string(line)};
        mock_kms::v1::CallCount count;
        std::uint64_t calls = 0;
        std::uint64_t faulted = 0;
        if (!(words >> *count.mutable_method() >> *count.mutable_code() >> calls >> faulted)) continue;
        count.set_calls(calls);
        count.set_faulted(faulted);
        pod.counts.push_back(std::move(count));
      }
    }
  }

  /// False if no line is one of a log.
  static bool read_log(const std::string& text, LogHistory& history) {
    const auto lines = lines_of(text);
    for (const std::string_view line : lines) history.add(line);
    return std::any_of(lines.begin(), lines.end(),
                       [](std::string_view line) { return LogLine::parse(line).has_value(); });
  }

  /// The logs reach further back than events and journal, which are bounded and end with their process.
  void read_logs(PodEvidence& pod) {
    LogHistory history;
    for (const std::string_view name : {"supervisor-previous.log", "supervisor.log"}) {
      if (const std::string* text = content(name)) {
        const bool any = read_log(*text, history);
        if (!any) problem(name, quoted_start(*text));
      }
    }
    history.prepend_to(pod.events, pod.journal);
    if (const std::string* text = content("build-plugin.log"); text != nullptr && !pod.build) {
      for (const std::string_view line : lines_of(*text)) {
        if (line.starts_with("builder: ")) pod.build_failure = line;
      }
    }
  }

  std::string place_;
  const std::map<std::string, const std::string*>& files_;
  Evidence& evidence_;
};

}  // namespace

EvidenceProblem problem_of(const std::string& file, const std::string& text) {
  EvidenceProblem problem;
  problem.set_file(file);
  problem.set_text(text);
  return problem;
}

void read_directory(const fs::path& directory, Files& files) {
  std::error_code error;
  const fs::path absolute = fs::canonical(directory, error);
  fs::recursive_directory_iterator each(absolute, fs::directory_options::follow_directory_symlink, error);
  if (error)
    throw Error("cannot read " + in_quotes(directory.string(), 300) + ": " + error.message(),
                "name a directory with NODE/POD/status.json, as the cleanup step fills it",
                ErrorCode::invalid_input);
  std::set<fs::path> read{absolute};  // links may lead in a circle
  while (each != fs::recursive_directory_iterator()) {
    const fs::path path = each->path();
    if (each->is_directory(error)) {
      std::error_code failure;
      const fs::path real = fs::canonical(path, failure);
      if (!failure) (void)fs::directory_iterator(real, failure);
      if (failure) files.problems.push_back(problem_of(path.string(), unreadable + failure.message()));
      if (failure || !read.insert(real).second) each.disable_recursion_pending();
    } else if (each->is_regular_file(error) && is_evidence(path)) {
      add_file(files, path, read_file(path));
    }
    each.increment(error);
    if (error) break;
  }
}

void read_tar(std::istream& archive, const std::string& place, Files& files) {
  std::array<char, tar_block> header{};
  std::string long_name;
  while (archive.read(header.data(), header.size())) {
    const std::string_view block(header.data(), header.size());
    if (block.find_first_not_of('\0') == std::string_view::npos) return;  // the end
    if (is_compressed(block))
      throw Error("the archive is compressed", "decompress it first, such as by gunzip or unxz",
                  ErrorCode::invalid_input);
    if (block.substr(257, 5) != "ustar") break;
    const std::uint64_t size = octal(until_null(block.substr(124, 12)));
    const char type = block[156];
    const std::string prefix(until_null(block.substr(345, 155)));
    const fs::path path =
        long_name.empty() ? fs::path(prefix) / until_null(block.substr(0, 100)) : fs::path(long_name);
    const bool is_name = type == 'L' || type == 'x';
    const bool is_file = (type == '0' || type == '\0') && is_evidence(path);
    if (is_name && size > max_name) break;
    const std::uint64_t kept = is_name || is_file ? std::min<std::uint64_t>(size, max_file) : 0;
    archive.ignore(static_cast<std::streamsize>(size - kept));
    std::string content(kept, '\0');
    if (!archive.read(content.data(), static_cast<std::streamsize>(kept))) break;
    archive.ignore(static_cast<std::streamsize>((tar_block - size % tar_block) % tar_block));
    if (type == 'L') {
      long_name = until_null(content);
    } else if (type == 'x') {
      long_name = pax_path(content);
    } else {
      long_name.clear();
      if (is_file) add_file(files, fs::path(place) / path, std::move(content));
    }
  }
  throw Error("the input is not a tar archive, or it is cut off", "make one with: tar -c -C DIRECTORY .",
              ErrorCode::invalid_input);
}

Evidence evidence_of(const Files& files) {
  Evidence evidence;
  evidence.problems = files.problems;
  std::map<fs::path, std::map<std::string, const std::string*>> pods;
  for (const auto& [path, content] : files.content) {
    const fs::path file(path);
    if (file.filename() == cluster_file) {
      for (const std::string_view line : lines_of(content))
        evidence.cluster_events.push_back(utf8_text(line));
    } else {
      pods[file.parent_path()][file.filename().string()] = &content;
    }
  }
  for (const auto& [directory, its_files] : pods) {
    PodEvidence& pod = evidence.pods.emplace_back();
    pod.pod = utf8_text(directory.filename().string());
    pod.node = utf8_text(directory.parent_path().filename().string());
    if (pod.node.empty()) pod.node = pod.pod;
    PodReader(pod.node + "/" + pod.pod, its_files, evidence).read(pod);
  }
  return evidence;
}

void read_metrics(const std::string& text, PodEvidence& pod) {
  std::map<std::pair<std::string, std::string>, mock_kms::v1::CallCount> counts;
  for (const std::string_view line : lines_of(text)) {
    const std::size_t brace = line.find('{');
    const std::size_t close = line.rfind("} ");
    if (line.starts_with('#') || brace == std::string_view::npos || close == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, brace);
    const std::string labels(line.substr(brace + 1, close - brace - 1));
    const double value = std::strtod(std::string(line.substr(close + 2)).c_str(), nullptr);
    if (!std::isfinite(value) || value < 0) continue;
    const auto label = [&](const std::string& key) {
      const std::size_t at = ("," + labels).find("," + key + "=\"");
      return at == std::string::npos
                 ? ""
                 : labels.substr(at + key.size() + 2,
                                 labels.find('"', at + key.size() + 2) - at - key.size() - 2);
    };
    if (name == "kms_supervisor_ends_total") pod.ends[label("cause")] += value;
    const bool calls = name == "mock_kms_calls_total";
    if (!calls && name != "mock_kms_faulted_calls_total") continue;
    auto& count = counts[{label("method"), label("code")}];
    count.set_method(label("method"));
    count.set_code(label("code"));
    if (calls)
      count.set_calls(static_cast<std::uint64_t>(std::clamp(value, 0.0, 1e15)));
    else
      count.set_faulted(static_cast<std::uint64_t>(std::clamp(value, 0.0, 1e15)));
  }
  for (auto& [key, count] : counts) pod.counts.push_back(std::move(count));
}

}  // namespace kms::supervisor::report
