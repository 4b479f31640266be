// Reads the evidence of the plugins of many nodes: the files that the CI step `cleanup` collects.
//
// One thread. A file that is missing or damaged becomes a problem in the evidence, and the rest is used. No
// function trusts a file.
#pragma once

#include <filesystem>
#include <istream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proto/report.pb.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor::report {

/// The evidence of one pod, which is one supervisor.
struct PodEvidence {
  std::string node, pod;
  std::optional<mock_kms::v1::SupervisorStatus> status = {};
  std::vector<mock_kms::v1::Event> events = {};  ///< oldest first; from the logs if events.json begins later
  std::vector<mock_kms::v1::CallRecord> journal = {};  ///< oldest first; changes from the logs likewise
  std::vector<mock_kms::v1::CallCount> counts = {};
  std::map<std::string, double> ends = {};  ///< by cause
  std::optional<mock_kms::v1::BuildInfo> build = {};
  std::string build_failure = {};  ///< the builder's last line if nothing was built
};

[[nodiscard]] mock_kms::v1::EvidenceProblem problem_of(const std::string& file, const std::string& text);

struct Evidence {
  std::vector<PodEvidence> pods = {};
  std::vector<mock_kms::v1::EvidenceProblem> problems = {};
  std::vector<std::string> cluster_events = {};
};

/// The files that were read.
struct Files {
  std::map<std::string, std::string> content = {};  ///< by path
  std::vector<mock_kms::v1::EvidenceProblem> problems = {};
};

/// Adds the files of evidence below `directory`, also behind links to directories. Throws Error if it is no
/// readable directory.
void read_directory(const std::filesystem::path& directory, Files& files);

/// Adds the files of evidence in a tar archive (POSIX ustar, with GNU's and pax' long names), below the path
/// `place`. Throws Error if the input is no such archive.
void read_tar(std::istream& archive, const std::string& place, Files& files);

/// Each directory with a known file is the evidence of a pod; its last two names are those of node and pod.
[[nodiscard]] Evidence evidence_of(const Files& files);

/// Reads Prometheus' text format as far as a report needs it: calls, and ends by cause.
void read_metrics(const std::string& text, PodEvidence& pod);

}  // namespace kms::supervisor::report
