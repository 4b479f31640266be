// The step between spawn() and a tool: it enters the sandbox and becomes the tool.
//
// Runs in a process of its own, with one thread, before main has done anything; it never returns to the
// builder's own code.
#pragma once

namespace kms::builder {

/// Enters the sandbox that the words say, and becomes the command behind them. Returns an exit code: where
/// there is no command 0, where the sandbox cannot be entered 125 and where the command cannot be started
/// 126, each with its reason in one line on stderr. Where processes are separated it stays as the parent of
/// the command, returns as that ends, and outlives all that the command has started.
[[nodiscard]] int run_sandbox_step(int argc, char** argv);

}  // namespace kms::builder
