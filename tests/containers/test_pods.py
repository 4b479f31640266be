"""The pod of the DaemonSet as kustomize renders it, and its overlays, run by podman."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from support.kms_client import KmsClient
from support.node import render, render_with
from support.processes import DEADLINE, wait_for_exit

ROOT = pathlib.Path(__file__).resolve().parents[2]
POD = "mock-kms-plugin"
SUPERVISOR, BUILD = f"{POD}-supervisor", f"{POD}-build-plugin"
SOCKET = "/var/run/kmsplugin/kms.sock"


def manifests(directory):
    return render(ROOT / "manifests" / directory)


def container(documents, name, workload=POD):
    """A container of a workload's pod template, to change it."""
    for document in documents:
        if document["kind"] in ("DaemonSet", "Deployment") and document["metadata"]["name"] == workload:
            spec = document["spec"]["template"]["spec"]
            return next(c for c in spec.get("initContainers", []) + spec["containers"] if c["name"] == name)
    raise AssertionError(f"no container {name}")


def set_variable(documents, name, variable, value):
    next(v for v in container(documents, name)["env"] if v["name"] == variable)["value"] = value


def client(node, socket=SOCKET):
    """As the API server on the host: by the host's path."""
    return KmsClient(f"unix://{node.host(socket)}")


def apply(node, documents, workload=None):
    result = node.apply(documents, workload)
    assert result.returncode == 0, (result.stderr, node.podman("ps", "--all").stdout)


def kill(pid):
    """SIGKILL, and wait for the end."""
    os.kill(pid, signal.SIGKILL)
    wait_for_exit(pid)


def plugin_pid(node, name=SUPERVISOR):
    """The plugin's pid on the host."""
    supervisor, until = node.pid(name), time.monotonic() + DEADLINE
    while not (children := pathlib.Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()):
        assert time.monotonic() < until, node.log(name)
        time.sleep(0.05)
    return int(children[0])


def test_the_daemonset_compiles_serves_survives_and_is_replayed(node):
    """The events of a day in a node's pod, in one test, because it compiles once."""
    documents = manifests("base")
    apply(node, documents)
    status = node.status(SUPERVISOR)
    assert status["binary"]["path"] == "/plugin/mock-kms-provider" and status["binary"]["matchesBuild"]
    assert status["binary"]["build"]["repository"] == "/usr/share/mock-kms-plugin/source.git"
    with client(node) as kms:
        sealed = kms.encrypt(b"a secret")
        assert sealed.key_id == status["answer"]["keyId"] == kms.status().key_id

    # Users type this when something is wrong.
    assert "kms.sock" in node.exec(SUPERVISOR, "ls", "-la", "/var/run/kmsplugin/").stdout
    assert "phase done phase=publish" in node.log(BUILD)
    assert node.exec(SUPERVISOR, "mock-kms-provider", "status").returncode == 0

    # A kubelet and the cleanup step run these in it.
    supervisor = container(documents, "supervisor")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        node.exec(SUPERVISOR, *supervisor[probe]["exec"]["command"])
    assert "kms_supervisor_up{" in node.exec(SUPERVISOR, "supervisor", "metrics").stdout
    assert 'mock_kms_calls_total{method="Encrypt",code="OK"} 1' in node.exec(SUPERVISOR, "mock-kms-provider", "metrics").stdout

    # The container is as closed as the manifest says.
    proc = pathlib.Path(f"/proc/{plugin_pid(node)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in proc.splitlines() if ":\t" in line)
    assert {fields[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert "Read-only file system" in node.exec(SUPERVISOR, "touch", "/etc/changed", check=False).stderr

    # The plugin is killed: its supervisor starts another one.
    kill(plugin_pid(node))
    with client(node) as kms:
        assert kms.decrypt(sealed) == b"a secret"
    assert node.status(SUPERVISOR)["restarts"] >= 1  # on a machine that is busy enough the next one may be too slow

    # A rotation is kept when the pod goes, and a deleted pod leaves no socket.
    node.exec(SUPERVISOR, "mock-kms-provider", "rotate")
    node.exec(SUPERVISOR, *supervisor["lifecycle"]["preStop"]["exec"]["command"])
    node.delete(POD)
    assert not list(node.host("/var/run/kmsplugin").iterdir())

    # Its successor finds the compiled binary in the node's cache, and the sockets of a node that lost its power.
    apply(node, documents)
    node.status(SUPERVISOR)
    kill(node.pid(SUPERVISOR))
    assert node.host(SOCKET).is_socket()
    node.forget(POD)
    apply(node, documents)
    assert node.status(SUPERVISOR)["answer"]["keyId"].startswith("default/v2/")
    with client(node) as kms:
        assert kms.decrypt(sealed) == b"a secret"

    # The supervisor is killed, and its container started again, as the kubelet does.
    kill(node.pid(SUPERVISOR))
    node.start_again(SUPERVISOR)
    assert node.status(SUPERVISOR)["supervisorPid"] == 1
    with client(node) as kms:
        assert kms.decrypt(sealed) == b"a secret"


def test_a_build_that_fails_shows_its_cause_in_the_termination_message(node):
    documents = manifests("base")
    set_variable(documents, "build-plugin", "BUILDER_REF", "no-such-branch")
    result = node.apply(documents)
    assert result.returncode != 0
    message = node.termination_message(BUILD)
    assert message.startswith("builder: fetch: cannot find ref 'no-such-branch'") and message.count("\n") == 1


TINY = {
    "provider/CMakeLists.txt": "cmake_minimum_required(VERSION 3.22)\nproject(plugin CXX)\nadd_executable(mock-kms-provider main.cc)\n",
    "provider/main.cc": '#include <cstdio>\nint main() { std::puts("plugin 1.0"); }\n',
    "common/x": "",
    "proto/kms.proto": "",
}


def make_repository(directory):
    """The repository of a plugin that compiles in a second and serves nobody."""
    for path, text in TINY.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    git = ["git", "-C", directory, "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "tiny"]):
        subprocess.run([*git, *words], check=True)


def test_the_component_isolates_the_compiler_from_everything(node, tmp_path):
    documents = render_with("isolated-build", tmp_path)
    make_repository(node.host("/var/lib/mock-kms-plugin/cache/tiny"))
    set_variable(documents, "build-plugin", "BUILDER_REPO", "/var/lib/mock-kms-plugin/cache/tiny")
    for end in ("phase done phase=publish", "published from the cache"):  # a second start removes the rest of the first
        node.apply(documents)
        log = node.log(BUILD)
        assert "the compiler is isolated measures=user,files,network,processes,limits" in log and end in log, log
        node.forget(POD)


def test_without_its_capabilities_the_isolation_is_demanded_in_vain(node, tmp_path):
    documents = render_with("isolated-build", tmp_path)
    make_repository(node.host("/var/lib/mock-kms-plugin/cache/tiny"))
    set_variable(documents, "build-plugin", "BUILDER_REPO", "/var/lib/mock-kms-plugin/cache/tiny")
    container(documents, "build-plugin")["securityContext"]["capabilities"].pop("add")
    assert node.apply(documents).returncode != 0
    assert "isolat" in node.termination_message(BUILD)


def test_the_prebuilt_overlay_compiles_nothing(node):
    apply(node, manifests("overlays/prebuilt"))
    status = node.status(SUPERVISOR)
    assert status["binary"]["path"] == "/usr/libexec/mock-kms-plugin/mock-kms-provider" and status["binary"]["matchesBuild"]
    assert BUILD not in node.podman("ps", "--all", "--format", "{{.Names}}").stdout


def prebuilt(documents, workload=POD):
    """The same workload without its compile, because these tests do not check the build."""
    for document in documents:
        if document["metadata"]["name"] == workload and document["kind"] in ("DaemonSet", "Deployment", "Pod"):
            spec = document["spec"]["template"]["spec"] if document["kind"] != "Pod" else document["spec"]
            spec["initContainers"] = [c for c in spec["initContainers"] if c["name"] != "build-plugin"]
            for c in spec["initContainers"] + spec["containers"]:
                c["args"] = [word.replace("/plugin/", "/usr/libexec/mock-kms-plugin/") for word in c.get("args", [])]
    return documents


@pytest.mark.parametrize("overlay", ["kind", "openshift"])
def test_an_overlay_for_a_cluster_serves_as_the_base_does(node, overlay):
    apply(node, prebuilt(manifests(f"overlays/{overlay}")))
    assert node.status(SUPERVISOR)["answer"]["healthz"] == "ok"
    with client(node) as kms:
        assert kms.decrypt(kms.encrypt(b"a secret")) == b"a secret"


def test_two_instances_share_a_node_and_no_keys(node):
    second = f"{POD}-second"
    documents = prebuilt(prebuilt(manifests("overlays/two-instances")), second)
    apply(node, documents, POD)
    apply(node, documents, second)
    assert node.status(SUPERVISOR)["answer"]["keyId"].startswith("default/")
    assert node.status(f"{second}-supervisor")["answer"]["keyId"].startswith("second/")
    with client(node) as old, client(node, "/var/run/kmsplugin/kms-second.sock") as new:
        sealed = old.encrypt(b"migrated")
        assert new.decrypt(new.encrypt(old.decrypt(sealed))) == b"migrated"
        with pytest.raises(Exception, match="belongs to another instance"):
            new.decrypt(sealed)


def test_the_sidecar_serves_its_pod_without_root(node):
    pod = "with-kms-sidecar"
    apply(node, prebuilt(manifests("overlays/sidecar"), pod))
    status = node.status(f"{pod}-supervisor")
    assert status["socket"]["endpoint"] == "unix:///var/run/kmsplugin/kms-1.sock"
    # podman starts both at once; a kubelet waits for the sidecar's startup probe, and starts again what has ended.
    until = time.monotonic() + 60
    while node.exec(f"{pod}-client", "mock-kms-provider", "status", check=False).returncode != 0:
        assert time.monotonic() < until, node.log(f"{pod}-client")
        node.podman("start", f"{pod}-client")
    sealed = node.exec("-i", f"{pod}-client", "mock-kms-provider", "encrypt", input="for the sidecar").stdout
    assert node.exec("-i", f"{pod}-client", "mock-kms-provider", "decrypt", input=sealed).stdout == "for the sidecar"
    owner = pathlib.Path(f"/proc/{plugin_pid(node, f'{pod}-supervisor')}").stat()
    assert (owner.st_uid, owner.st_gid) == (65532, 65532)


def test_the_static_pod_needs_no_object_of_the_api_server(node):
    documents = prebuilt(manifests("overlays/static-pod"))
    assert [d["kind"] for d in documents] == ["Pod"]
    seed = node.host("/etc/kubernetes/mock-kms/seed")
    seed.parent.mkdir(parents=True)
    seed.write_bytes(bytes(range(32)))
    apply(node, documents)
    node.status(SUPERVISOR)
    with client(node) as kms:
        assert kms.decrypt(kms.encrypt(b"before the API server")) == b"before the API server"


def test_a_change_of_the_declared_file_reaches_the_plugin(node):
    apply(node, prebuilt(manifests("overlays/declared")))
    assert node.status(SUPERVISOR)["answer"]["keyId"].startswith("default/v1/")
    (node.root / "volumes" / POD / "declared/provider.json").write_text('{"keyVersion": 4}')
    with client(node) as kms:
        until = time.monotonic() + DEADLINE
        while not kms.status().key_id.startswith("default/v4/"):
            assert time.monotonic() < until
    assert node.exec(SUPERVISOR, "mock-kms-provider", "config").returncode == 0


def test_a_seed_that_is_none_is_named_by_the_status(node):
    documents = prebuilt(manifests("base"))
    for document in documents:
        if document["kind"] == "DaemonSet":
            document["spec"]["template"]["metadata"]["annotations"]["mock-kms.test/seed"] = "not a seed"
    apply(node, documents)
    until = time.monotonic() + DEADLINE
    while "seed file /etc/mock-kms/seed holds 10 bytes" not in (result := node.exec(SUPERVISOR, "supervisor", "status", check=False)).stdout:
        assert time.monotonic() < until, result.stdout
        time.sleep(0.2)
    assert result.returncode == 1
