"""Runs the examples of one Markdown file as its reader would, in one bash.

Conventions for authors of documentation:
  - A fence tagged `console` is run. A line "$ COMMAND" is a command, lines "> ..." continue it, and the lines below are its whole
    output with stderr. "…" stands for any text within a line; a line of only "…" stands for any lines.
  - All console fences of a file share one bash and one temporary directory, from top to bottom.
  - A fence with a second word, such as `python plugin.py`, is a file of that name in the directory.
  - Fences with any other tag are not run.

A ShellSession is used by one thread. It ends what the examples left running, by the pids that bash knows.
"""

import os
import re
import select
import signal
import subprocess
import time

END = "--- end of command"
DEADLINE = 60.0  # seconds a command


def fences(text):
    """(tag, file name or "", lines) of each fence."""
    found, lines = [], None
    for line in text.splitlines():
        opening = re.fullmatch(r"```(\w*) ?(\S*)", line)
        if lines is not None and line == "```":
            found.append((tag, name, lines))
            lines = None
        elif lines is not None:
            lines.append(line)
        elif opening:
            tag, name = opening.groups()
            lines = []
    assert lines is None, "a fence does not end"
    return found


def without_fences(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def examples(text):
    """(command, expected lines) of all console fences."""
    found = []
    for tag, _, lines in fences(text):
        if tag != "console":
            continue
        for line in lines:
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("> ") and not found[-1][1]:
                found[-1] = (found[-1][0] + "\n" + line[2:], [])
            else:
                found[-1][1].append(line)
    return found


def matches(expected, output):
    """True if lines with "…" in them describe the output's lines."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\\n]*?".join(re.escape(part) for part in line.split("…")) + r"\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in output)) is not None


class ShellSession:
    def __init__(self, directory, environment):
        self._directory = directory
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=directory, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._code = 0
        self._stuck = False

    def run(self, command):
        """The lines that the command prints; `$?` is the one before it left."""
        script = self._directory.parent / f"{self._directory.name}.command"
        script.write_text(command)
        self._send(f"command=$(cat {script}); (exit {self._code}); "
                   f'eval "$command" </dev/null; printf "\\n{END} %d\\n" $?\n')
        text = self._read_to_end(command)
        script.unlink()
        body, self._code = re.fullmatch(rf"(.*)\n{END} (\d+)\n", text, re.S).groups()
        return body.splitlines()

    def _send(self, line):
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()

    def _read_to_end(self, command):
        text, until = b"", time.monotonic() + DEADLINE
        while not re.search(rb"\n" + END.encode() + rb" \d+\n$", text):
            ready, _, _ = select.select([self._shell.stdout], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            self._stuck = not part
            assert part, f"no end of {command!r} within {DEADLINE} s; it printed: {text.decode()}"
            text += part
        return text.decode()

    def close(self):
        """Sends TERM to background processes, then KILL to the rest of the shell's group."""
        try:
            if not self._stuck:
                self._send("trap '' TERM; kill $(jobs -p) 2>/dev/null; wait; exit 0\n")
                self._shell.wait(DEADLINE)
        finally:
            try:
                os.killpg(self._shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._shell.wait()
            self._shell.stdin.close()
            self._shell.stdout.close()
