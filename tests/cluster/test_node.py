"""The pods of the manifests and all steps on a real kubelet, with an API server that uses the plugin by the node's path.

Skipped without kubelet, kube-controller-manager, kube-scheduler, containerd and runc. The images hold this build's programs; the init
container copies the provider instead of compiling it.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from support.control_plane import IDENTITY, kms, until
from support.kubelet_node import IMAGE, NODE, KubeletNode, why_no_node
from support.steps import NAMESPACE

pytestmark = pytest.mark.skipif(bool(why_no_node()), reason=why_no_node())

MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / "manifests"
PREFIX = b"k8s:enc:kms:v2:"
SOCKET = "unix:///var/run/kmsplugin/kms.sock"
IMAGES = {"KMS_PLUGIN_BUILDER_IMAGE": IMAGE, "KMS_PLUGIN_RUNTIME_IMAGE": IMAGE}
KMS = kms("mock-kms", SOCKET)


@pytest.fixture
def node(plane):
    plane.configure((["secrets"], [IDENTITY]))
    plane.api.start()
    made = KubeletNode(plane)
    yield made.start()
    made.close()


def in_pod(plane, *command, pod="daemonset/mock-kms-plugin", check=True):
    return plane.kubectl("exec", "-n", NAMESPACE, pod, "-c", "supervisor", "--", *command, check=check)


def pod_name(plane, selector="app.kubernetes.io/instance=mock-kms-plugin"):
    return plane.kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "jsonpath={.items[*].metadata.name}").stdout


def rendered(plane, directory):
    """The overlay with the images of this test."""
    text = plane.kubectl("kustomize", directory).stdout
    for target in ("builder", "runtime"):
        text = text.replace(f"localhost/mock-kms-plugin-{target}:0.1.0", IMAGE)
    return text


def restart_with(plane, *resources):
    plane.configure(*resources)
    plane.api.restart()


def test_a_job_deploys_configures_verifies_and_cleans_up(plane, node, job, measured):
    begin = time.monotonic()
    code, output = job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)
    assert code == 0, (output, node.log("kubelet"))
    measured("deploy: from start to healthy, s", round(time.monotonic() - begin, 1))
    assert job.junit("deploy") == {f"plugin on {NODE}": "passed"} and "Warning:" not in output
    assert (job.shared / "kms-plugin-version").read_text().startswith("mock-kms-provider ")

    assert plane.create("older", "before the encryption").ok
    assert job.run("configure")[0] == 0
    shutil.copy(job.shared / "kms-encryption-configuration.yaml", plane.configuration)
    plane.api.restart()
    code, output = job.run("configure", KMS_MIGRATE="true")
    assert code == 0 and plane.stored("older").startswith(PREFIX + b"mock-kms:"), output
    code, output = job.run("verify")
    assert code == 0 and job.junit("verify")[f"plugin on {NODE}"] == "passed", output

    # With the plugin in use nothing is removed.
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true")
    assert code == 1 and "Nothing was removed" in output
    assert pod_name(plane)
    evidence = next((job.artifacts / "kms-mock-plugin" / NODE).iterdir())
    assert '"keyId"' in (evidence / "status.json").read_text()

    restart_with(plane, (["secrets"], [IDENTITY, KMS]))
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="120s")
    assert code == 0, output
    assert not plane.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}").ok
    assert [key for key, value in plane.stored_under("/registry/").items() if value.startswith(PREFIX)] == []
    restart_with(plane, (["secrets"], [IDENTITY]))
    assert plane.read("older") == "before the encryption"
    assert (job.artifacts / "kms-mock-plugin-summary.html").stat().st_size > 10000


def test_cleanup_of_a_plugin_in_use_warns_and_its_seed_brings_everything_back(plane, node, job):
    assert job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)[0] == 0
    restart_with(plane, (["secrets"], [KMS, IDENTITY]))
    assert plane.create("probe").ok
    code, output = job.run("cleanup", KMS_CLEANUP_TIMEOUT="120s")
    assert code == 0 and "WARNING: kube-apiserver has read or written objects under KMS" in output
    plane.api.restart(signal.SIGKILL, wait=False)
    until(lambda: plane.api.ready("kms-providers").code == 500, 200, lambda: plane.api.ready(), pause=1)
    assert plane.read("probe", timeout=30) != "a secret"
    # The same job deploys again with the seed that it kept.
    code, output = job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)
    assert code == 0, output
    until(lambda: plane.read("probe", timeout=30) == "a secret", 150, lambda: plane.read("probe", timeout=30), pause=1)


def test_deploy_names_a_wrong_image_and_a_build_that_fails(plane, node, job):
    images = {**IMAGES, "KMS_PLUGIN_BUILDER_IMAGE": "localhost/no-such-image:1"}
    code, output = job.run("deploy", KMS_DEPLOY_TIMEOUT="40s", **images)
    assert code == 1 and ("build-plugin: ErrImagePull" in output or "build-plugin: ImagePullBackOff" in output)
    pathlib.Path("/var/lib/mock-kms-plugin/cache").mkdir(exist_ok=True)
    pathlib.Path("/var/lib/mock-kms-plugin/cache/fail").touch()
    code, output = job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", KMS_BUILD_TRIES="2", **IMAGES)
    assert code == 1 and f"the build failed 2 times on {NODE}" in output
    assert "the build says: builder: compile: cannot compile mock-kms-provider: told to fail; remove the file" in output
    message = plane.kubectl("get", "pod", "-n", NAMESPACE, pod_name(plane), "-o", "jsonpath={.status.initContainerStatuses[0].lastState.terminated.message}").stdout
    assert "builder: compile: cannot compile mock-kms-provider: told to fail" in message


def writes(plane, count, prefix):
    """The failures of `count` writes and reads."""
    return [i for i in range(count) if not plane.create(f"{prefix}-{i}").ok or plane.read(f"{prefix}-{i}") != "a secret"]


def test_writes_go_on_while_plugin_supervisor_and_pod_die(plane, node, job):
    assert job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)[0] == 0
    restart_with(plane, (["secrets"], [KMS, IDENTITY]))

    def healthy():
        return in_pod(plane, "supervisor", "status", "--wait=5s", check=False).returncode == 0

    for i in range(3):
        os.kill(node.processes("mock-kms-provider")[0], signal.SIGKILL)
        assert writes(plane, 10, f"plugin-{i}") == []
        until(healthy, 60, "healthy again")
    os.kill(node.processes("supervisor")[0], signal.SIGKILL)
    assert writes(plane, 10, "supervisor") == []
    until(healthy, 90, lambda: plane.kubectl("describe", "pods", "-n", NAMESPACE).stdout)
    old = pod_name(plane)
    plane.kubectl("delete", "pod", "-n", NAMESPACE, old, "--wait=false")
    assert writes(plane, 30, "pod") == []
    until(lambda: pod_name(plane) not in ("", old) and healthy(), 120, lambda: pod_name(plane), pause=1)
    # A rotation reaches the API server, and the node keeps it over the pod's end.
    in_pod(plane, "mock-kms-provider", "rotate")
    plane.kubectl("delete", "pod", "-n", NAMESPACE, pod_name(plane))
    until(healthy, 120, "healthy again", pause=1)
    assert "/v2/" in in_pod(plane, "mock-kms-provider", "status").stdout
    plane.api.restart(signal.SIGKILL)
    assert plane.read("plugin-0-0") == "a secret" and writes(plane, 3, "after") == []


def test_data_migrates_between_the_two_instances_of_the_overlay(plane, node):
    plane.kubectl("apply", "-f", "-", input=rendered(plane, MANIFESTS / "overlays/two-instances"))
    sockets = [pathlib.Path("/var/run/kmsplugin") / name for name in ("kms.sock", "kms-second.sock")]
    until(lambda: all(socket.exists() for socket in sockets), 200, lambda: plane.kubectl("get", "pods", "-A").stdout, pause=1)
    for workload in plane.kubectl("get", "daemonsets", "-n", NAMESPACE, "-o", "name").stdout.split():
        until(lambda: in_pod(plane, "supervisor", "status", "--wait=5s", pod=workload, check=False).returncode == 0, 90, workload)
    second = kms("second", f"unix://{sockets[1]}")
    restart_with(plane, (["secrets"], [KMS, IDENTITY]))
    assert writes(plane, 5, "first") == []
    restart_with(plane, (["secrets"], [second, KMS, IDENTITY]))
    for name in (f"first-{i}" for i in range(5)):
        assert plane.rewrite(name).ok and plane.stored(name).startswith(PREFIX + b"second:")
    plane.kubectl("delete", "daemonset", "-n", NAMESPACE, "mock-kms-plugin")
    restart_with(plane, (["secrets"], [second, IDENTITY]))
    assert [i for i in range(5) if plane.read(f"first-{i}") != "a secret"] == []


def test_a_node_with_everything_encrypted_comes_back_after_a_power_cut(plane, node, measured):
    """`*.*` and the static pod: the kubelet starts it without the API server."""
    seed = pathlib.Path("/etc/kubernetes/mock-kms/seed")
    seed.parent.mkdir(mode=0o700)
    seed.write_bytes(os.urandom(32))
    seed.chmod(0o600)
    (node.static_pods / "mock-kms-plugin.yaml").write_text(rendered(plane, MANIFESTS / "overlays/static-pod"))
    socket = pathlib.Path("/var/run/kmsplugin/kms.sock")
    until(socket.exists, 120, lambda: node.log("kubelet"), pause=0.5)
    restart_with(plane, (["*.*"], [KMS, IDENTITY]))
    assert plane.create("probe").ok and plane.create("map", resource="configmaps").ok
    node.cut()
    begin = time.monotonic()
    plane.api.start(wait=False)
    node.start_containerd()
    node.start_kubelet()
    node.start_controllers()
    plane.api.wait_ready()
    measured("node with *.* after a power cut: API server ready after, s", round(time.monotonic() - begin, 1))
    assert plane.read("probe") == "a secret" and plane.read("map", "configmaps") == "a secret"
    assert plane.create("after").ok


def test_rows_of_the_troubleshooting_page(plane, node, job):
    """docs/troubleshooting.md, "Look into a pod": what users see."""
    # no pod: no node has the label
    nobody = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": None}}}
    plane.api.request("PATCH", f"/api/v1/nodes/{NODE}", nobody, kind="application/merge-patch+json")
    code, output = job.run("deploy", KMS_DEPLOY_TIMEOUT="20s", **IMAGES)
    assert code == 1 and "no node has the label" in output
    labels = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}
    plane.api.request("PATCH", f"/api/v1/nodes/{NODE}", labels, kind="application/merge-patch+json")
    assert job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)[0] == 0
    assert "healthy, serving since" in in_pod(plane, "supervisor", "status").stdout
    assert "kms.sock" in in_pod(plane, "ls", "-la", "/var/run/kmsplugin/").stdout
    # Running, 0/1 ready: the plugin does not answer
    in_pod(plane, "supervisor", "stop")
    until(lambda: "0/1" in plane.kubectl("get", "pods", "-n", NAMESPACE).stdout, 60, lambda: plane.kubectl("get", "pods", "-n", NAMESPACE).stdout, pause=1)
    status = in_pod(plane, "supervisor", "status", check=False)
    assert status.returncode == 1 and "paused by" in status.stdout
    in_pod(plane, "supervisor", "start")
    # killed for the lack of memory
    in_pod(plane, "mock-kms-provider", "fault", "add", "out-of-memory")
    in_pod(plane, "mock-kms-provider", "status", check=False)
    until(lambda: "a SIGKILL that the supervisor did not send" in in_pod(plane, "supervisor", "status", check=False).stdout, 60, "the cause", pause=1)
    # the directory was replaced on the node
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/var/run/kmsplugin"], check=True)
    assert not pathlib.Path("/var/run/kmsplugin/kms.sock").exists()
    plane.kubectl("delete", "pod", "-n", NAMESPACE, pod_name(plane))
    until(lambda: pathlib.Path("/var/run/kmsplugin/kms.sock").exists(), 90, "the socket", pause=1)


def test_forbidden_crashing_and_late_pods_say_why(plane, node):
    """The same page: pods that are forbidden, CrashLoopBackOff with the termination message, and a failed startup probe."""
    def said(*command):
        return plane.kubectl(*command, "-n", NAMESPACE, check=False).stdout

    def set_environment(**variables):
        plane.kubectl("set", "env", "daemonset/mock-kms-plugin", "-n", NAMESPACE, "-c", "supervisor", *(f"{name}={value}" for name, value in variables.items()))

    base = rendered(plane, MANIFESTS / "base")
    plane.kubectl("apply", "-f", "-", input=base.replace("enforce: privileged", "enforce: restricted"))
    until(lambda: "violates PodSecurity" in said("describe", "daemonset", "mock-kms-plugin"), 60, lambda: said("get", "events"), pause=1)
    assert "forbidden" in said("describe", "daemonset", "mock-kms-plugin") and pod_name(plane) == ""

    plane.kubectl("apply", "-f", "-", input=base)
    set_environment(SUPERVISOR_SOCKET="no-endpoint")
    until(lambda: "CrashLoopBackOff" in said("get", "pods"), 120, lambda: said("describe", "pods"), pause=1)
    assert "supervisor: --socket: endpoint 'no-endpoint' is not a Unix socket address" in said("describe", "pods")

    set_environment(SUPERVISOR_SOCKET=SOCKET, MOCK_KMS_FAULT='{"lateStart": "1h"}')
    until(lambda: "Startup probe failed" in said("get", "events"), 150, lambda: said("describe", "pods"), pause=1)
