"""Programs that keep a plugin alive, each as its users start it: ours, runsv, s6-supervise and supervisord."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

from runner.programs import running, wait_for


def _parents():
    """Parent and command name of every process, from proc_pid_stat(5)."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            text = pathlib.Path("/proc", entry, "stat").read_text(encoding="utf-8")
            match = re.fullmatch(r"\d+ \((.*)\) . (\d+) .*", text, re.DOTALL)
            found[int(entry)] = int(match[2]), match[1]
    return found


def descendants(root, name):
    """Process ids below `root` whose command name begins as `name` does (the kernel keeps 15 bytes)."""
    parents = _parents()

    def is_below(pid):
        while pid in parents and pid != root:
            pid = parents[pid][0]
        return pid == root

    return [pid for pid, (_, comm) in parents.items() if pid != root and comm == name[:15] and is_below(pid)]


class Keeper:
    """One program that keeps a plugin alive on `socket`, with all of its files in `directory`."""

    name = ""

    def __init__(self, programs, directory):
        self.programs = programs
        self.directory = pathlib.Path(directory, self.name.replace(" ", ""))
        self.directory.mkdir()
        self.socket = f"unix://{self.directory}/kms.sock"
        self.log = self.directory / "log"
        self.pid = 0

    def plugin(self):
        return [self.programs.mock_kms_provider, "serve", "--listen-addr", self.socket]

    def command(self):
        raise NotImplementedError

    def plugin_pid(self):
        return wait_for(lambda: descendants(self.pid, "mock-kms-provider"), f"{self.name} to start the plugin")[0]

    @contextlib.contextmanager
    def started(self):
        with running(self.command(), self.log) as process:
            self.pid = process.pid
            yield self


class Supervisor(Keeper):
    """Ours with its defaults: it owns the socket and hands it down."""

    name = "supervisor"
    options = ()

    @property
    def control(self):
        return f"unix://{self.directory}/control.sock"

    def command(self):
        return [self.programs.supervisor, "--control-socket", self.control, "run", "--socket", self.socket,
                *self.options, "--", *self.plugin()]

    def status(self):
        done = subprocess.run(
            [self.programs.supervisor, "--control-socket", self.control, "status", "-o", "json", "--wait", "10s"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def plugin_pid(self):
        """The one that serves, where there are several."""
        return wait_for(self.status, "the supervisor's status")["pid"]


class SupervisorWithStandby(Supervisor):
    name = "supervisor --standby"
    options = ("--standby",)


class FleetOfFifty(Supervisor):
    """Fifty plugins under one supervisor; a client talks to the first."""

    name = "supervisor --instances 50"

    def __init__(self, programs, directory):
        super().__init__(programs, directory)
        self.sockets = f"unix://{self.directory}/{{n}}.sock"
        self.socket = self.sockets.replace("{n}", "1")

    def command(self):
        return [self.programs.supervisor, "--control-socket", self.control, "run", "--instances", "50",
                "--socket", self.sockets, "--", self.programs.mock_kms_provider, "serve", "--listen-addr", self.sockets]


class ClassicSupervisor(Supervisor):
    """The plugin binds its own socket, as under the others."""

    name = "supervisor --handover off"
    options = ("--handover", "off")


class Runsv(Keeper):
    name = "runsv"
    script = "run"

    def command(self):
        script = self.directory / self.script
        script.write_text("#!/bin/sh\nexec " + " ".join(self.plugin()) + "\n", encoding="utf-8")
        script.chmod(0o755)
        return [self.name, str(self.directory)]


class S6Supervise(Runsv):
    name = "s6-supervise"


class Supervisord(Keeper):
    name = "supervisord"

    def command(self):
        settings = self.directory / "supervisord.conf"
        settings.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={self.directory}/pid\n"
            f"[program:kms]\ncommand={' '.join(self.plugin())}\nautorestart=true\n"
            "stdout_logfile=NONE\nstderr_logfile=NONE\n", encoding="utf-8")
        return [self.name, "-c", str(settings)]


OURS = [Supervisor, SupervisorWithStandby, ClassicSupervisor]
ALL = OURS + [keeper for keeper in (Runsv, S6Supervise, Supervisord) if shutil.which(keeper.name)]
