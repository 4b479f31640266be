#include "common/log/log.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/sink.h>

#include <memory>
#include <mutex>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/text/time.h"

namespace kms::log {
namespace {

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view level_name(spdlog::level::level_enum level) {
  const auto name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

/// Adds time, level and program to a message that write() has rendered in the same format.
class LineFormatter : public spdlog::formatter {
 public:
  LineFormatter(std::string program, Format format) : program_(std::move(program)), format_(format) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const std::string_view body(message.payload.data(), message.payload.size());
    std::string text;
    if (format_ == Format::json) {
      text = "{\"time\":\"" + rfc3339(message.time) + "\",\"level\":\"" +
             std::string(level_name(message.level)) + "\",\"program\":" + json_string(program_) + "," +
             std::string(body) + "}\n";
    } else {
      std::string level(level_name(message.level));
      level.resize(std::max<std::size_t>(level.size(), 7), ' ');
      text = rfc3339(message.time) + " " + level + " " + program_ + ": " + std::string(body) + "\n";
    }
    line.append(text.data(), text.data() + text.size());
  }

  [[nodiscard]] std::unique_ptr<formatter> clone() const override {
    return std::make_unique<LineFormatter>(program_, format_);
  }

 private:
  std::string program_;
  Format format_;
};

/// Waits a moment for the reader of a full pipe. On false, errno says why.
bool write_or_give_up(int fd, std::string_view text) {
  constexpr int max_wait_ms = 1000;
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
    if (written >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) return false;
    pollfd reader{fd, POLLOUT, 0};
    if (::poll(&reader, 1, max_wait_ms) == 0) {
      errno = EAGAIN;
      return false;
    }
  }
  return true;
}

/// Writes to stderr or to the writer of log::redirect(). It avoids spdlog's base_sink and logger: both bring
/// the pattern classes, which are unused here and take longer to compile than everything else.
class LineSink : public spdlog::sinks::sink {
 public:
  void redirect(std::function<void(std::string)> writer) {
    const std::lock_guard lock(mutex_);
    writer_ = std::move(writer);
  }

  void min_level(spdlog::level::level_enum level) {
    const std::lock_guard lock(mutex_);
    min_level_ = level;
  }

  void copy_to(const std::string& file) {
    const std::lock_guard lock(mutex_);
    // Without O_NONBLOCK a FIFO that nobody reads would stop the program, and no signal would end it.
    copy_.reset(
        ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666));
    if (!copy_) throw_errno("write the log to " + file, "check --log-file");
    copy_file_ = file;
  }

  void copy_line(std::string_view line) {
    const std::lock_guard lock(mutex_);
    copy(std::string(line) + "\n");
  }

  void log(const spdlog::details::log_msg& message) override {
    const std::lock_guard lock(mutex_);
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    copy({line.data(), line.size()});
    if (message.level < min_level_) return;
    if (writer_) {
      writer_(std::string(line.data(), line.size() - 1));
    } else {
      std::fwrite(line.data(), 1, line.size(), stderr);
    }
  }
  void flush() override {}
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    const std::lock_guard lock(mutex_);
    formatter_ = std::move(formatter);
  }

 private:
  /// Says once that the file cannot be written, for example on a full disk, and goes on without it.
  void copy(std::string_view text) {
    if (!copy_ || write_or_give_up(copy_.get(), text)) return;
    std::fprintf(stderr, "cannot write the log to %s: %s; the log continues on stderr only\n",
                 copy_file_.c_str(), errno_text(errno).c_str());
    copy_.reset();
  }

  std::mutex mutex_;  ///< guards all below
  std::unique_ptr<spdlog::formatter> formatter_ = std::make_unique<LineFormatter>("mock-kms", Format::text);
  std::function<void(std::string)> writer_;
  spdlog::level::level_enum min_level_ = spdlog::level::info;
  UniqueFd copy_;
  std::string copy_file_;
};

struct Output {
  Output() { sink.set_level(spdlog::level::info); }
  LineSink sink;  ///< its level is the lowest that is written anywhere
  Format format = Format::text;
};

Output& output() {
  static Output instance;
  return instance;
}

bool needs_quotes(std::string_view text) {
  return text.empty() || text.find_first_of(" \"=") != std::string_view::npos ||
         without_controls(text, ' ') != text;
}

}  // namespace

std::string Field::text() const { return key_ + "=" + (plain_ || !needs_quotes(text_) ? text_ : json_); }

std::string Field::json() const { return json_string(key_) + ":" + json_; }

void configure(std::string_view program, Level min, Format format) {
  Output& out = output();
  out.format = format;
  out.sink.set_formatter(std::make_unique<LineFormatter>(std::string(program), format));
  out.sink.set_level(spdlog_level(min));
  out.sink.min_level(spdlog_level(min));
}

void redirect(std::function<void(std::string)> writer) { output().sink.redirect(std::move(writer)); }

void copy_to(const std::string& file) {
  output().sink.copy_to(file);
  output().sink.set_level(spdlog::level::debug);
}

void copy_line(std::string_view line) { output().sink.copy_line(line); }

void write(Level level, std::string_view message, const Fields& fields) {
  Output& out = output();
  if (!out.sink.should_log(spdlog_level(level))) return;
  const bool json = out.format == Format::json;
  std::string line = json ? "\"message\":" + json_string(message) : without_controls(message, ' ');
  for (const Field& field : fields) line += json ? "," + field.json() : " " + field.text();
  out.sink.log({"", spdlog_level(level), spdlog::string_view_t(line.data(), line.size())});
}

}  // namespace kms::log
