#include "builder/compile/smoke_test.h"

#include "common/error.h"
#include "common/process/run.h"

namespace kms::builder {

std::string run_smoke_test(const std::filesystem::path& binary, const SmokeTest& test,
                           const Isolation& isolation, const Interruption& interruption) {
  std::string first_line;
  std::string last_line;
  const process::RunEnd end = process::run(
      {isolation.smoke_test({binary.string(), test.argument}, binary), {"PATH=/usr/bin:/bin"}, {}, "/", true},
      {test.timeout, std::chrono::seconds(1), interruption.fd()}, [&](std::string_view line) {
        if (first_line.empty()) first_line = line;
        if (!line.empty()) last_line = line;
      });
  interruption.check();
  const std::string command = "run " + binary.filename().string() + " " + test.argument;
  const auto* status = std::get_if<process::ExitStatus>(&end);
  if (status == nullptr) {
    throw Error("cannot " + command + ": it did not end within " + human_duration(test.timeout),
                "a program that is to be published answers " + test.argument + " and ends");
  }
  if (!status->success()) {
    throw Error("cannot " + command + ": it " + (status->signaled() ? "was " : "") + status->text() +
                    (last_line.empty() ? "" : " after '" + last_line + "'"),
                "nothing was published; check the libraries that it needs, and its main()");
  }
  return first_line;
}

}  // namespace kms::builder
