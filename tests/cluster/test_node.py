"""The pods of the manifests and all steps on a real kubelet, with an API server that uses the plugin by the node's path.

Skipped without kubelet, kube-controller-manager, kube-scheduler, containerd and runc. The images hold this build's programs; the init
container copies the provider instead of compiling it.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from support.control_plane import IDENTITY, kms, until
from support.kubelet_node import IMAGE, NODE, KubeletNode, find_program, why_no_node
from support.steps import NAMESPACE

pytestmark = pytest.mark.skipif(bool(why_no_node()), reason=why_no_node())

MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / "manifests"
PREFIX = b"k8s:enc:kms:v2:"
SOCKET = "unix:///var/run/kmsplugin/kms.sock"
IMAGES = {"KMS_PLUGIN_BUILDER_IMAGE": IMAGE, "KMS_PLUGIN_RUNTIME_IMAGE": IMAGE}
KMS = kms("mock-kms", SOCKET)


@pytest.fixture
def start_node(plane):
    made = []

    def start():
        plane.configure((["secrets"], [IDENTITY]))
        plane.api.start()
        made.append(KubeletNode(plane))
        return made[0].start()

    yield start
    for node in made:
        node.close()


@pytest.fixture
def node(start_node):
    return start_node()


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
    plane.api.restart(signal.SIGKILL)  # SIGTERM would wait 30 s for the watches of the node


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


BUILT = os.environ.get("KMS_CLUSTER_IMAGES")  # an archive of the images that scripts/image makes


@pytest.mark.skipif(not BUILT, reason="takes minutes; KMS_CLUSTER_IMAGES must name an archive of the images builder and runtime")
def test_the_base_compiles_the_plugin_in_the_cluster(plane, node, job, measured):
    """`Init:0/1` of docs/troubleshooting.md, and a healthy status after it."""
    node.ctr("images", "import", BUILT)

    def said(*command):
        return plane.kubectl(*command, "-n", NAMESPACE, check=False).stdout

    def healthy():
        return pod_name(plane) and in_pod(plane, "supervisor", "status", "--wait=5s", check=False).returncode == 0

    begin = time.monotonic()
    plane.kubectl("apply", "-k", MANIFESTS / "base")
    until(lambda: "Init:0/1" in said("get", "pods"), 60, lambda: said("describe", "pods"), pause=0.5)
    until(lambda: "builder: compiling" in said("logs", pod_name(plane), "-c", "build-plugin"), 120, lambda: said("describe", "pods"), pause=0.5)
    assert "Init:0/1" in said("get", "pods")
    until(healthy, 900, lambda: said("describe", "pods"), pause=1)
    measured("base with a compile in the cluster: from apply to healthy, s", round(time.monotonic() - begin, 1))
    print(said("logs", pod_name(plane), "-c", "build-plugin"))
    status = in_pod(plane, "supervisor", "status").stdout
    print(status)
    assert status.startswith("healthy, serving since") and "(HEAD) of /usr/share/mock-kms-plugin/source.git" in status
    restart_with(plane, (["secrets"], [KMS, IDENTITY]))
    assert plane.create("probe").ok and plane.stored("probe").startswith(PREFIX)

    # The next pods take the binary from the node's cache.
    old, begin = pod_name(plane), time.monotonic()
    plane.kubectl("delete", "pod", "-n", NAMESPACE, old)
    until(lambda: pod_name(plane) != old and healthy(), 120, "the next pod", pause=0.5)
    measured("deletion of the pod, and healthy again from the node's cache, s", round(time.monotonic() - begin, 1))
    images = {f"KMS_PLUGIN_{target.upper()}_IMAGE": f"localhost/mock-kms-plugin-{target}:0.1.0" for target in ("builder", "runtime")}
    code, output = job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **images)
    assert code == 0 and job.junit("deploy") == {f"plugin on {NODE}": "passed"}, output
    assert plane.read("probe") == "a secret"


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


# --- etcd in a pod, which the steps read


OPENSHIFT_API = json.dumps({
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "apiservers.config.openshift.io"},
    "spec": {"group": "config.openshift.io", "scope": "Cluster", "names": {"plural": "apiservers", "singular": "apiserver", "kind": "APIServer"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})

needs_etcdctl = pytest.mark.skipif(find_program("etcdctl") is None, reason="etcdctl is neither in KUBEBUILDER_ASSETS nor in PATH")


@needs_etcdctl
def test_verify_and_cleanup_read_the_etcd_pod_of_kubeadm(plane, node, job):
    assert job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)[0] == 0
    node.move_etcd_into_a_pod()
    code, output = job.run("verify")
    assert code == 1 and "a fresh Secret is stored without KMS v2" in output

    restart_with(plane, (["secrets", "configmaps"], [KMS, IDENTITY]))
    code, output = job.run("verify")
    assert code == 0 and "a fresh Secret is stored under default/v1/" in output
    assert job.junit("verify") == {f"plugin on {NODE}": "passed", "a fresh Secret in etcd": "passed"}
    code, output = job.run("verify", KMS_PROVIDER_NAME="another")
    assert code == 1 and "it is encrypted by a provider other than another: k8s:enc:kms:v2:mock-kms:" in job.junit("verify")["a fresh Secret in etcd"]

    # Cleanup finds the values in etcd that nobody has rewritten.
    assert plane.create("probe").ok and plane.create("map", resource="configmaps").ok
    restart_with(plane, (["secrets", "configmaps"], [IDENTITY, KMS]))
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="120s")
    assert code == 1 and "etcd still has values under KMS (" in output and " configmaps)" in output and "etcd cannot be read" not in output
    code, output = job.run("cleanup", KMS_DECRYPT_FIRST="true", KMS_CLEANUP_TIMEOUT="120s", KMS_RESOURCES="secrets,configmaps")
    assert code == 0 and "etcd cannot be read" not in output
    assert [key for key, value in plane.stored_under("/registry/").items() if value.startswith(PREFIX)] == []


@needs_etcdctl
def test_verify_reads_an_etcd_pod_as_openshift_has_it(plane, start_node, job):
    """OpenShift's prefix, and the names of its pod and container. The group of its API makes the steps take the cluster for OpenShift."""
    plane.api.options = ["--etcd-prefix=kubernetes.io"]
    node = start_node()
    assert job.run("deploy", KMS_DEPLOY_TIMEOUT="240s", **IMAGES)[0] == 0
    plane.kubectl("create", "namespace", "openshift-etcd")
    node.move_etcd_into_a_pod("openshift-etcd", as_on_openshift=True)
    plane.kubectl("apply", "-f", "-", input=OPENSHIFT_API)
    until(lambda: "config.openshift.io" in plane.api.request("GET", "/apis").text, 60, "the group")
    restart_with(plane, (["secrets"], [KMS, IDENTITY]))
    code, output = job.run("verify")
    assert code == 0 and "a fresh Secret is stored under default/v1/" in output
    assert job.junit("verify") == {f"plugin on {NODE}": "passed", "a fresh Secret in etcd": "passed"}
    restart_with(plane, (["secrets"], [IDENTITY, KMS]))
    code, output = job.run("verify")
    assert code == 1 and "it is not encrypted by KMS v2" in job.junit("verify")["a fresh Secret in etcd"]


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
    start_static_pod(plane, node, os.urandom(32))
    socket = pathlib.Path("/var/run/kmsplugin/kms.sock")
    until(socket.exists, 120, lambda: node.log("kubelet"), pause=0.5)
    restart_with(plane, (["*.*"], [KMS, IDENTITY]))
    assert plane.create("probe").ok and plane.create("map", resource="configmaps").ok
    node.cut()
    begin = time.monotonic()
    node.power_on()
    plane.api.wait_ready()
    measured("node with *.* after a power cut: API server ready after, s", round(time.monotonic() - begin, 1))
    assert plane.read("probe") == "a secret" and plane.read("map", "configmaps") == "a secret"
    assert plane.create("after").ok


def daemonset_in(documents):
    return next(d for d in documents if d["kind"] == "DaemonSet")


def seed_of(base):
    return daemonset_in(yaml.safe_load_all(base))["spec"]["template"]["metadata"]["annotations"]["mock-kms.test/seed"]


def start_static_pod(plane, node, seed):
    file = pathlib.Path("/etc/kubernetes/mock-kms/seed")
    file.parent.mkdir(mode=0o700)
    file.write_bytes(seed)
    file.chmod(0o600)
    manifest = node.static_pods / "mock-kms-plugin.yaml"
    manifest.write_text(rendered(plane, MANIFESTS / "overlays/static-pod"))
    return manifest


NO_CONTROLLERS = "failed to wait for apiserver being healthy"  # kube-controller-manager ends


def seed_from_a_secret(pod):
    volume = next(v for v in pod["volumes"] if v["name"] == "seed")
    volume.clear()
    volume |= {"name": "seed", "secret": {"secretName": "seed"}}


def optional_map(pod):
    pod["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings", "optional": True}}]


@pytest.mark.parametrize("read_by_pod, symptom", [
    (seed_from_a_secret, 'MountVolume.SetUp failed for volume "seed" : failed to sync secret cache'),
    (optional_map, "CreateContainerConfigError")], ids=["secret", "optional-map"])
def test_pods_that_read_what_only_they_can_decrypt_wait_after_a_power_cut(plane, node, read_by_pod, symptom):
    """And a static pod with the same seed ends it, but a better DaemonSet does not."""
    base = rendered(plane, MANIFESTS / "base")

    def healthy():
        return in_pod(plane, "supervisor", "status", "--wait=5s", check=False).returncode == 0

    def pods():
        return plane.kubectl("describe", "pods", "-n", NAMESPACE, check=False).stdout

    documents = list(yaml.safe_load_all(base))
    read_by_pod(daemonset_in(documents)["spec"]["template"]["spec"])
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("create", "secret", "generic", "seed", "-n", NAMESPACE, f"--from-literal=seed={seed_of(base)}")
    assert plane.create("settings", resource="configmaps", namespace=NAMESPACE).ok
    plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(documents))
    until(healthy, 120, pods, pause=1)
    restart_with(plane, (["secrets", "configmaps"], [KMS, IDENTITY]))
    for name, resource in {"seed": "secrets", "settings": "configmaps"}.items():
        assert plane.rewrite(name, resource, NAMESPACE).ok and plane.stored(name, resource, NAMESPACE).startswith(PREFIX)
    assert plane.create("probe").ok
    old = pod_name(plane)

    node.cut()
    node.power_on()
    until(lambda: symptom in pods(), 120, pods, pause=1)
    assert plane.read("probe", timeout=30) != "a secret" and not node.processes("mock-kms-provider")
    # Nobody replaces the pod, because kube-controller-manager ends while /healthz of its API server fails.
    plane.kubectl("apply", "-f", "-", input=base)
    node.programs["kube-controller-manager"].wait_for_line(NO_CONTROLLERS, deadline=60)
    assert pod_name(plane) == old and not node.processes("mock-kms-provider")

    manifest = start_static_pod(plane, node, seed_of(base).encode())
    plane.api.wait_ready()
    until(lambda: plane.read("probe", timeout=30) == "a secret", 150, lambda: plane.api.ready(), pause=1)
    node.start_controllers()
    until(lambda: old not in pod_name(plane).split(), 120, pods, pause=1)
    manifest.unlink()
    until(healthy, 150, pods, pause=1)
    assert plane.create("after").ok


def test_a_daemonset_does_not_come_back_if_its_pods_are_encrypted_but_the_static_pod_does(plane, node):
    """`*.*` and a power cut."""
    base = rendered(plane, MANIFESTS / "base")
    plane.kubectl("apply", "-f", "-", input=base)
    until(lambda: in_pod(plane, "supervisor", "status", "--wait=5s", check=False).returncode == 0, 120, lambda: node.log("kubelet"), pause=1)
    restart_with(plane, (["*.*"], [KMS, IDENTITY]))
    old = pod_name(plane)
    plane.kubectl("delete", "pod", "-n", NAMESPACE, old)
    until(lambda: pod_name(plane) not in ("", old) and in_pod(plane, "supervisor", "status", "--wait=5s", check=False).returncode == 0, 120, "the next pod", pause=1)
    assert plane.create("probe").ok
    assert {value.startswith(PREFIX) for value in plane.stored_under(f"/registry/pods/{NAMESPACE}/").values()} == {True}

    node.cut()
    node.power_on()
    node.programs["kube-controller-manager"].wait_for_line(NO_CONTROLLERS, deadline=60)
    assert not node.processes("supervisor") and not plane.api.ready().ok
    start_static_pod(plane, node, seed_of(base).encode())
    plane.api.wait_ready()
    assert plane.read("probe") == "a secret"
    plane.kubectl("delete", "daemonset", "-n", NAMESPACE, "mock-kms-plugin")
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
