"""The step cleanup through kubectl against a real kube-apiserver. No kubelet runs, so no pod does."""

import threading
import time

import pytest

from support.control_plane import IDENTITY, until
from support.steps import NAMESPACE

PREFIX = b"k8s:enc:kms:v2:"


def make_namespace(plane, name=NAMESPACE):
    assert plane.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).ok


def namespace(plane, name=NAMESPACE):
    answer = plane.api.request("GET", f"/api/v1/namespaces/{name}")
    return answer.body if answer.ok else None


def finalize(plane, name=NAMESPACE):
    """Ends an empty namespace, as the controller manager does."""
    body = namespace(plane, name)
    body["spec"]["finalizers"] = []
    return plane.api.request("PUT", f"/api/v1/namespaces/{name}/finalize", body)


class NamespaceController:
    """Removes the namespace once it is to go, as the controller manager does. The API server alone never does."""

    def __init__(self, plane):
        self.plane, self._end = plane, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.wait(0.3):
            found = namespace(self.plane)
            if found and "deletionTimestamp" in found["metadata"]:
                finalize(self.plane)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


@pytest.fixture
def encrypted(plane, start_plugin):
    """Twenty Secrets in two namespaces under KMS v2, and the plugin's namespace."""
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.start()
    make_namespace(plane)
    for i in range(10):
        assert plane.create(f"secret-{i}").ok and plane.create(f"secret-{i}", namespace=NAMESPACE).ok
    return plugin


def assert_all_readable(plane, secrets=10):
    assert [i for i in range(secrets) if plane.read(f"secret-{i}") != "a secret"] == []


def assert_nothing_removed(plane, job, secrets=10):
    found = namespace(plane)
    assert found and "deletionTimestamp" not in found["metadata"]
    assert job.junit("cleanup")["decryption"] not in ("passed", None)
    assert_all_readable(plane, secrets)


def under_kms(plane):
    return [key for key, value in plane.stored_under("/registry/secrets/").items() if value.startswith(PREFIX)]


# --- cleanup


def test_cleanup_removes_nothing_while_the_api_server_still_encrypts(plane, encrypted, job):
    """The loss of data: everything was rewritten under the same key, and then the plugin was removed."""
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1
    # Writes that change nothing are skipped, so this server reads what is encrypted, and writes nothing.
    assert "API server 10.99.0.1:6443 read" in output and "put identity first in the EncryptionConfiguration of each" in output
    assert "Nothing was removed: objects that only the plugin can decrypt would be lost" in output
    assert_nothing_removed(plane, job)
    assert len(under_kms(plane)) == 21  # and the step's own


def test_cleanup_removes_nothing_while_an_api_server_without_secrets_encrypts(plane, start_plugin, job):
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.start()
    make_namespace(plane)
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "API server 10.99.0.1:6443" in output
    assert_nothing_removed(plane, job, secrets=0)


def test_cleanup_decrypts_and_removes_once_identity_is_first(plane, encrypted, job):
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    assert len(under_kms(plane)) == 20
    with NamespaceController(plane):
        code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="60s")
    assert code == 0, output
    assert job.junit("cleanup") == {"decryption": "passed", f"removal of namespace {NAMESPACE}": "passed"}
    assert namespace(plane) is None and under_kms(plane) == []
    encrypted.__exit__(None, None, None)
    plane.configure((["secrets"], [IDENTITY]))
    plane.api.restart()
    assert_all_readable(plane)


def test_cleanup_waits_for_no_reload_and_removes_nothing_before_it(plane, encrypted, job):
    """The file has identity first, but the API server has not read it yet."""
    plane.api.options = ["--encryption-provider-config-automatic-reload=true"]
    plane.api.restart()
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_POLL_SECONDS="0")
    assert code == 1 and "wait until it has reloaded the file" in output
    assert_nothing_removed(plane, job)

    def reloaded():
        name = f"probe-{time.monotonic()}"
        return plane.create(name).ok and not plane.stored(name).startswith(PREFIX)

    until(reloaded, 100, "the reload", pause=2)
    with NamespaceController(plane):
        code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="60s")
    assert code == 0 and under_kms(plane) == [], output


def test_cleanup_finds_the_one_of_two_api_servers_that_still_encrypts(plane, encrypted, job):
    second = plane.server("10.99.0.2")
    second.start()
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    until(lambda: len(plane.kubectl("get", "endpointslices", "-n", "default", "kubernetes", "-o", "jsonpath={.endpoints[*].addresses[0]}").stdout.split()) == 2,
          60, "two endpoints")
    # Nobody writes by the second server but the step.
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "API server 10.99.0.2:6443 wrote" in output
    assert_nothing_removed(plane, job)


def test_cleanup_names_a_resource_that_is_encrypted_too(plane, encrypted, job):
    plane.configure((["secrets", "configmaps"], [encrypted.kms, IDENTITY]))
    plane.api.restart()
    assert plane.create("map", resource="configmaps").ok
    plane.configure((["secrets", "configmaps"], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "configmaps" in output and "name them in KMS_RESOURCES" in output
    assert_nothing_removed(plane, job)
    with NamespaceController(plane):
        code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="60s", KMS_RESOURCES="secrets,configmaps")
    assert code == 0, output
    assert not plane.stored("map", "configmaps").startswith(PREFIX)
