"""The steps and the manifests through kubectl against a real kube-apiserver. No kubelet runs, so no pod does; test_node.py has one."""

import pathlib
import re
import shutil
import threading
import time

import pytest

from support.control_plane import GROUP, IDENTITY, kms, until
from support.steps import NAMESPACE

PREFIX = b"k8s:enc:kms:"
MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / "manifests"
OVERLAYS = ["base", *sorted(f"overlays/{path.name}" for path in (MANIFESTS / "overlays").iterdir())]
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}
IMAGES = {name: "registry.invalid/none:1" for name in ("KMS_PLUGIN_BUILDER_IMAGE", "KMS_PLUGIN_RUNTIME_IMAGE")}


def make_namespace(plane, name=NAMESPACE):
    assert plane.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).ok


def make_node(plane, name="node"):
    assert plane.api.request("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": CONTROL_PLANE}}).ok


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
def unencrypted(plane):
    plane.api.start()
    return plane


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


def under_kms(plane, prefix="/registry/secrets/"):
    return [key for key, value in plane.stored_under(prefix).items() if value.startswith(PREFIX)]


# --- manifests


MASTER_LABEL = "node-role.kubernetes.io/master is use"  # of overlays/openshift, for old nodes; the step deploy leaves it out where it can


def test_the_api_server_takes_every_manifest_without_a_warning(unencrypted):
    """Of deprecated labels and fields, or of the pod security level."""
    answers = {}
    for overlay in OVERLAYS:
        rendered = unencrypted.kubectl("kustomize", MANIFESTS / overlay).stdout
        for name in set(re.findall(r"(?m)^  namespace: (\S+)$", rendered)):
            if not namespace(unencrypted, name):
                make_namespace(unencrypted, name)
                unencrypted.kubectl("create", "serviceaccount", "default", "-n", name)  # as the controller manager does
        answers[overlay] = unencrypted.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=rendered, check=False)
    assert MASTER_LABEL in answers["overlays/openshift"].stderr and len(answers["overlays/openshift"].stderr.splitlines()) == 1
    assert {overlay: answer.stderr for overlay, answer in answers.items() if answer.returncode or answer.stderr and overlay != "overlays/openshift"} == {}


# --- deploy


def deploy(job, timeout="8s"):
    return job.run("deploy", KMS_DEPLOY_TIMEOUT=timeout, **IMAGES)


def daemonset(plane):
    return plane.api.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/mock-kms-plugin").body


def test_deploy_is_accepted_and_says_that_no_pod_came(unencrypted, job):
    make_node(unencrypted)
    code, output = deploy(job)
    assert code == 1 and "node: no pod yet" in output and "not healthy within 8s" in output
    assert "Warning:" not in output
    seed, before = (job.shared / "kms-plugin-seed").read_text(), daemonset(unencrypted)
    deploy(job)
    after = daemonset(unencrypted)
    assert after["metadata"]["generation"] == before["metadata"]["generation"], (before, after)  # so no pod is replaced
    assert after["spec"]["template"]["metadata"]["annotations"]["mock-kms.test/seed"] == seed


def test_deploy_waits_for_a_namespace_that_is_being_removed(unencrypted, job):
    plane = unencrypted
    make_node(plane)
    make_namespace(plane)
    assert plane.api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}").ok
    code, output = deploy(job, "4s")
    assert code == 1 and f"namespace {NAMESPACE} is still being removed after 4s" in output
    assert plane.kubectl("get", "daemonsets", "-A", "-o", "name").stdout == ""
    process = job.start("deploy", KMS_DEPLOY_TIMEOUT="40s", **IMAGES)
    try:
        for line in process.stdout:
            if "waiting until namespace" in line:
                assert finalize(plane).ok
                break
        rest = process.communicate(timeout=120)[0]
    finally:
        process.kill()
    assert "daemonset.apps/mock-kms-plugin created" in rest
    assert "deletionTimestamp" not in namespace(plane)["metadata"]


def test_deploy_names_the_kubelets_reason(unencrypted, job):
    """The test plays the kubelet."""
    plane = unencrypted
    make_node(plane)
    process = job.start("deploy", KMS_DEPLOY_TIMEOUT="25s", **IMAGES)
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    try:
        until(lambda: plane.api.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/mock-kms-plugin").ok, 60, "the DaemonSet")
        template = plane.api.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/mock-kms-plugin").body["spec"]["template"]
        pod = {"metadata": {**template["metadata"], "name": "pod"}, "spec": {**template["spec"], "nodeName": "node"}}
        made = plane.api.request("POST", pods, pod)
        assert made.ok, made
        waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}
        status = {"phase": "Pending", "initContainerStatuses": [
            {"name": "build-plugin", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}]}
        patched = plane.api.request("PATCH", f"{pods}/pod/status", {"status": status}, kind="application/merge-patch+json")
        assert patched.ok, patched
        output = process.communicate(timeout=120)[0]
    finally:
        process.kill()
    assert "waiting for node: its pod is Pending; build-plugin: ErrImagePull: no such host" in output
    assert "ErrImagePull: no such host" in job.junit("deploy")["plugin on node"]


# --- configure and verify


def test_configure_writes_a_file_that_the_api_server_takes_and_rewrites_everything(plane, start_plugin, job):
    plugin = start_plugin()
    plane.configure((["secrets", "configmaps"], [IDENTITY]))
    plane.api.start()
    make_namespace(plane)
    for i in range(3):
        assert plane.create(f"secret-{i}").ok and plane.create(f"map-{i}", resource="configmaps").ok
    (job.shared / "kms-plugin-socket-path").write_text(plugin.endpoint.removeprefix("unix://"))
    code, output = job.run("configure", KMS_RESOURCES="secrets,configmaps")
    assert code == 0 and under_kms(plane, "/registry/") == [], output
    shutil.copy(job.shared / "kms-encryption-configuration.yaml", plane.configuration)
    plane.api.restart()
    code, output = job.run("configure", KMS_RESOURCES="secrets,configmaps", KMS_MIGRATE="true")
    assert code == 0, output
    assert job.junit("configure")["rewrite of secrets,configmaps"] == "passed"
    assert {key for prefix in ("secrets", "configmaps") for key in plane.stored_under(f"/registry/{prefix}/")} == set(under_kms(plane, "/registry/"))
    assert_all_readable(plane, secrets=3)


def test_verify_says_that_a_node_has_no_plugin(unencrypted, job):
    make_node(unencrypted)
    make_namespace(unencrypted)
    code, output = job.run("verify")
    assert code == 1 and "node: there is no pod on this node" in output
    assert job.junit("verify")["a fresh Secret"] == "no node has a plugin"


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


WIDGETS = f"widgets.{GROUP}"


def test_cleanup_finds_custom_resources_that_the_api_server_has_not_read_since_its_start(plane, encrypted, job):
    """The metrics of an API server count no read for its caches by name, and it makes the cache of a custom resource at the first request."""
    plane.configure((["secrets", WIDGETS], [encrypted.kms, IDENTITY]))
    plane.api.restart()
    plane.define(WIDGETS)
    plane.wait_defined(WIDGETS)
    for i in range(3):
        assert plane.create(f"widget-{i}", resource=WIDGETS).ok
    plane.configure((["secrets", WIDGETS], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and WIDGETS in output and "name them in KMS_RESOURCES" in output
    assert len(under_kms(plane, f"/registry/{GROUP}/")) == 3
    assert_nothing_removed(plane, job)
    with NamespaceController(plane):
        code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="60s", KMS_RESOURCES=f"secrets,{WIDGETS}")
    assert code == 0, output
    assert under_kms(plane, "/registry/") == []


def test_cleanup_finds_objects_that_are_still_under_kms_v1(plane, start_plugin, job):
    plugin = start_plugin("mock-kms", ["--kms-v1"])
    first = kms("old", plugin.endpoint, version="v1")
    plane.api.options = ["--feature-gates=KMSv1=true"]
    plane.configure((["secrets", "configmaps"], [first, IDENTITY]))
    plane.api.start()
    make_namespace(plane)
    assert plane.create("secret-0").ok and plane.create("map", resource="configmaps").ok
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "put identity first in the EncryptionConfiguration of each" in output
    assert_nothing_removed(plane, job, secrets=1)
    plane.configure((["secrets", "configmaps"], [IDENTITY, first]))
    plane.api.restart()
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "configmaps" in output
    assert_nothing_removed(plane, job, secrets=1)


def test_cleanup_removes_nothing_if_the_api_server_does_not_know_a_provider_of_stored_objects(plane, encrypted, job):
    """The provider of a resource was removed from the configuration before its objects were decrypted."""
    plane.configure((["secrets", WIDGETS], [encrypted.kms, IDENTITY]))
    plane.api.restart()
    plane.define(WIDGETS)
    plane.wait_defined(WIDGETS)
    assert plane.create("widget", resource=WIDGETS).ok
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "not every object can be read, so some may be under KMS" in output and "identity transformer tried to read encrypted data" in output
    assert under_kms(plane, f"/registry/{GROUP}/")
    assert_nothing_removed(plane, job)


def test_cleanup_removes_nothing_while_the_plugin_cannot_decrypt(plane, encrypted, job):
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    encrypted.provider("fault", "add", "decrypt-broken")
    plane.api.restart(wait=False)
    until(lambda: plane.api.ready("ping").ok, 120, lambda: plane.api.ready(), pause=1)
    code, _ = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_MIGRATION_TIMEOUT="20s")
    assert code == 1
    encrypted.provider("fault", "clear")
    until(lambda: plane.read("secret-0") == "a secret", 120, lambda: plane.api.ready(), pause=1)
    assert_nothing_removed(plane, job)


def test_cleanup_finds_fewer_api_servers_than_control_plane_nodes(plane, encrypted, job):
    """The endpoints name a load balancer, or one server is down: the step cannot ask each of them."""
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    for name in ("one", "two"):
        make_node(plane, name)
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "there are 2 control-plane nodes, but 1 API server(s)" in output
    assert_nothing_removed(plane, job)


def test_cleanup_decrypts_objects_that_nobody_may_change(plane, encrypted, job):
    """Immutable Secrets, Secrets of a namespace that is being removed, and more Secrets than one page of a list has."""
    make_namespace(plane, "going")
    assert plane.api.request("POST", "/api/v1/namespaces/going/secrets", {"metadata": {"name": "held", "finalizers": ["kms.test/hold"]}}).ok
    assert plane.api.request("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "fixed"}, "immutable": True}).ok
    for i in range(550):
        assert plane.create(f"many-{i}").ok
    assert plane.api.request("DELETE", "/api/v1/namespaces/going").ok
    plane.configure((["secrets"], [IDENTITY, encrypted.kms]))
    plane.api.restart()
    with NamespaceController(plane):
        code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="60s")
    assert code == 0, output
    assert under_kms(plane, "/registry/") == []
