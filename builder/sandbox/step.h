// The step between spawn() and a tool: it enters the sandbox and runs the tool there.
//
// Runs in a process of its own, with one thread, before main has done anything; it never returns to the
// builder's own code.
#pragma once

namespace kms::builder {

/// Runs the command behind the words in the sandbox that they say, without any descriptor but the first
/// three, and stays as its parent: it keeps what the builder has lent it, such as a lock, and returns as the
/// command ends. Returns an exit code: where there is no command 0, where the sandbox cannot be entered 125
/// and where the command cannot be started 126, each with its reason in one line on stderr. It outlives all
/// that the command has started, where processes are separated and where the builder was killed.
[[nodiscard]] int run_sandbox_step(int argc, char** argv);

}  // namespace kms::builder
