// Draws the timeline as inline SVG: one track for each subject of a plugin, all on the same time axis.
//
// Pure functions. Positions are percentages, so that the charts follow the width of the page and texts keep
// their size. Each mark has a title with its exact time.
#pragma once

#include <chrono>
#include <string>

#include "proto/report.pb.h"
#include "supervisor/report/html.h"

namespace kms::supervisor::report {

/// A lease above this has not visibly run down.
inline constexpr std::chrono::seconds smallest_dip{179};

class Axis {
 public:
  explicit Axis(const mock_kms::v1::Report& report);

  /// Percent of the width: "12.34".
  [[nodiscard]] std::string at(const google::protobuf::Timestamp& time) const;
  [[nodiscard]] double position(const google::protobuf::Timestamp& time) const;

  /// The element with the labels of the ticks.
  [[nodiscard]] std::string labels() const;
  /// The grid's definition, which each track uses.
  [[nodiscard]] std::string grid() const;

 private:
  struct Tick {
    double position;
    std::string label;
  };
  [[nodiscard]] std::vector<Tick> ticks() const;

  std::chrono::system_clock::time_point from_, to_;
};

/// The tracks of one plugin. `max_rate` is the number of calls in a bucket that fills the height.
[[nodiscard]] std::string tracks(const mock_kms::v1::PluginReport& plugin, const Axis& axis,
                                 const Times& times, std::chrono::nanoseconds bucket, unsigned max_calls);

/// The legend of all tracks.
[[nodiscard]] std::string legend();

}  // namespace kms::supervisor::report
