import json
import os
import pathlib

import pytest

from support import processes
from support.control_plane import ControlPlane, kms, kubectl
from support.steps import RealJob
from support.supervised import Supervised


@pytest.fixture
def directory():
    made = processes.short_directory()
    yield made
    processes.remove(made)


@pytest.fixture
def plane(directory):
    made = ControlPlane(directory)
    yield made
    made.close()


class Plugin(Supervised):
    """A provider under a supervisor, and the kms provider that an EncryptionConfiguration needs for it."""

    wait = "55s"  # API servers and kubelets are busy beside it

    def __init__(self, directory, name, provider_options=(), options=()):
        home = directory / name
        home.mkdir()
        endpoint = f"unix://{home}/kms.sock"
        command = [processes.binary("mock-kms-provider"), f"--listen-addr={endpoint}", f"--state-dir={home}/state", *provider_options]
        super().__init__(home, command=command, socket_uri=endpoint, options=options)
        self.kms = kms(name, endpoint)

    def provider(self, *command):
        """Runs a client command of the provider."""
        result = processes.run_provider(*command, "--socket", self.endpoint, timeout=120)
        assert result.returncode == 0, (command, result.stderr)
        return result.stdout

    def inspect(self, key, value):
        """`inspect` of a value in etcd, as JSON; asserts that this plugin's key opens it."""
        import base64
        result = processes.run_provider("inspect", "--encoding=base64", "--key", key, "--reveal", "--socket", self.endpoint, "-o", "json",
                                        input=base64.b64encode(value).decode())
        assert result.returncode == 0, (result.stdout, result.stderr)
        return json.loads(result.stdout)


@pytest.fixture
def start_plugin(directory):
    """Starts plugins that are healthy when the call returns."""
    started = []

    def start(name="mock-kms", provider_options=(), options=()):
        plugin = Plugin(directory, name, provider_options, options).__enter__()
        started.append(plugin)
        plugin.healthy()
        return plugin

    yield start
    for plugin in started:
        plugin.__exit__(None, None, None)


@pytest.fixture(scope="session")
def measured():
    """Prints a figure, and appends it to the file KMS_CLUSTER_FIGURES."""

    def report(name, value):
        print(f"measured {name}: {value}")
        if path := os.environ.get("KMS_CLUSTER_FIGURES"):
            with pathlib.Path(path).open("a") as file:
                file.write(json.dumps({"figure": name, "value": value}) + "\n")

    return report


@pytest.fixture
def job(plane):
    directory = processes.short_directory()
    yield RealJob(directory, kubectl(), plane.kubeconfig)
    processes.remove(directory)
