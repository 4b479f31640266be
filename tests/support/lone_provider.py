"""A provider without a supervisor that encrypts one custom resource, and what an API server does with it.

Its number is that of its kms provider in the EncryptionConfiguration. The test's own thread, or one thread per provider, uses it.
"""

import datetime
import json

from support.control_plane import GROUP
from support.processes import Program, binary, run_provider


class LoneProvider:
    """A provider without a supervisor, and a custom resource that only it encrypts."""

    def __init__(self, plane, number, name, options=()):
        self.plane, self.number, self.name, self.options = plane, number, name, options
        self.resource = f"{name}.{GROUP}"
        self.endpoint = f"unix://{plane.directory}/{name}.sock"
        self.tries = 0
        self.start()

    def start(self):
        self.program = Program(binary("mock-kms-provider"), "--listen-addr", self.endpoint, *self.options)
        self.program.wait_for_line(": started", deadline=60)

    def kill(self):
        """It leaves its socket, and every connection is refused."""
        self.program.__exit__()

    def provider(self, *command):
        result = run_provider(*command, "--socket", self.endpoint, timeout=120)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def journal(self):
        """The Status calls of the API server."""
        entries = map(json.loads, self.provider("journal", "-o", "json").splitlines())
        return [entry for entry in entries if entry["method"] == "Status"]

    def calls(self, code=None):
        """When they came, in seconds."""
        return [seconds_of(entry["at"]) for entry in self.journal() if code in (None, entry["code"])]

    def failure(self):
        return self.plane.api.kms_failures().get(self.number)

    def write(self):
        self.tries += 1
        return self.plane.create(f"object-{self.tries}", resource=self.resource, timeout=30)


def seconds_of(at):
    return datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
