#include "common/process/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

namespace kms::process {

/// 101 is the first priority that is not the compiler's own.
[[gnu::constructor(101)]] void open_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", O_RDWR);  // gets the lowest free number: this one
  }
}

}  // namespace kms::process
