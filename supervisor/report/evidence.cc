#include "supervisor/report/evidence.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <array>
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

constexpr std::size_t max_file = std::size_t{64} * 1024 * 1024;  ///< of a longer file the end is read
constexpr std::size_t max_files = 10'000;
constexpr std::size_t tar_block = 512;

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
  if (files.size() >= max_files)
    throw Error("there are more than " + std::to_string(max_files) + " files of evidence",
                "name the directory of one job", ErrorCode::invalid_input);
  files[path.lexically_normal().string()] = std::move(content);
}

/// The file's last `max_file` bytes.
std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<std::streamoff>(in.tellg());
  if (!in || size < 0) return "cannot be read: " + errno_text(errno);
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
    auto& problem = evidence_.problems.emplace_back();
    problem.set_file(place_ + "/" + std::string(name));
    problem.set_text(text);
  }

  /// The first line says why: the step keeps a client's errors in the file.
  static std::string quoted_start(const std::string& text) {
    return text.empty() ? "is empty"
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
    for (std::size_t i = 0; i < objects.size(); i += at_once) {
      const std::size_t end = std::min(objects.size(), i + at_once);
      damaged += read_objects<Page>({objects.begin() + static_cast<std::ptrdiff_t>(i),
                                     objects.begin() + static_cast<std::ptrdiff_t>(end)},
                                    field, take);
    }
    if (objects.empty() && damaged > 0) return problem(name, quoted_start(*text));
    if (damaged > 0)
      problem(name, std::to_string(damaged) + " of its " + std::to_string(objects.size()) +
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
    if (const std::string* text = content("counts.txt"); text != nullptr && pod.counts.empty()) {
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

  /// The logs reach further back than events and journal, which are bounded and end with their process.
  void read_logs(PodEvidence& pod) {
    LogHistory history;
    for (const std::string_view name : {"supervisor-previous.log", "supervisor.log"}) {
      if (const std::string* text = content(name)) {
        for (const std::string_view line : lines_of(*text)) history.add(line);
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

void read_directory(const fs::path& directory, Files& files) {
  std::error_code error;
  const fs::path absolute = fs::canonical(directory, error);
  fs::recursive_directory_iterator each(absolute, fs::directory_options::skip_permission_denied, error);
  if (error)
    throw Error("cannot read " + in_quotes(directory.string(), 300) + ": " + error.message(),
                "name the directory that the cleanup step filled", ErrorCode::invalid_input);
  for (; each != fs::recursive_directory_iterator(); each.increment(error)) {
    if (error) break;
    if (each->is_regular_file(error) && is_evidence(each->path()))
      add_file(files, each->path(), read_file(each->path()));
  }
}

void read_tar(std::istream& archive, Files& files) {
  std::array<char, tar_block> header{};
  std::string long_name;
  while (archive.read(header.data(), header.size())) {
    const std::string_view block(header.data(), header.size());
    if (block.find_first_not_of('\0') == std::string_view::npos) return;  // the end
    if (block.substr(257, 5) != "ustar") break;
    const std::uint64_t size = octal(until_null(block.substr(124, 12)));
    if (size > max_file)
      throw Error("the archive holds a file of " + std::to_string(size) + " bytes", "leave it out",
                  ErrorCode::invalid_input);
    std::string content(size, '\0');
    if (!archive.read(content.data(), static_cast<std::streamsize>(size))) break;
    archive.ignore(static_cast<std::streamsize>((tar_block - size % tar_block) % tar_block));
    const char type = block[156];
    if (type == 'L') {
      long_name = until_null(content);
    } else if (type == 'x') {
      long_name = pax_path(content);
    } else {
      const std::string prefix(until_null(block.substr(345, 155)));
      fs::path path =
          long_name.empty() ? fs::path(prefix) / until_null(block.substr(0, 100)) : fs::path(long_name);
      long_name.clear();
      if ((type == '0' || type == '\0') && is_evidence(path)) add_file(files, path, std::move(content));
    }
  }
  throw Error("the input is no tar archive, or it is cut off", "make one with: tar -c -C DIRECTORY .",
              ErrorCode::invalid_input);
}

Evidence evidence_of(const Files& files) {
  Evidence evidence;
  std::map<fs::path, std::map<std::string, const std::string*>> pods;
  for (const auto& [path, content] : files) {
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
