"""scripts/podman-pod: the pod for a workload, and the input it refuses."""

import pathlib
import socket
import subprocess

import pytest
import yaml

from support import processes

ROOT = pathlib.Path(__file__).resolve().parents[2]

DAEMONSET = """
kind: DaemonSet
metadata: {name: plugin}
spec:
  template:
    metadata:
      labels: {app: plugin}
      annotations: {example.test/seed: abc}
    spec:
      priorityClassName: system-node-critical
      hostNetwork: true
      initContainers:
      - {name: build, image: "builder:1", terminationMessagePolicy: FallbackToLogsOnError}
      - {name: stays, image: "registry.test:5000/runtime:1", restartPolicy: Always, startupProbe: {exec: {command: [x]}}}
      containers:
      - {name: main, image: "registry.test:5000/plain", env: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]}
      volumes:
      - {name: socket, hostPath: {path: /var/run/kms, type: DirectoryOrCreate}}
      - {name: scratch, emptyDir: {}}
      - name: seed
        downwardAPI: {items: [{path: seed, fieldRef: {fieldPath: "metadata.annotations['example.test/seed']"}}]}
"""
SECRET = """
kind: Secret
metadata: {name: key}
data: {a: Yg==}
stringData: {c: d}
"""
POD = """
kind: Pod
metadata: {name: alone}
spec:
  containers: [{name: main, image: runtime}]
  volumes: [{name: key, secret: {secretName: key}}]
"""


@pytest.fixture
def root():
    directory = processes.short_directory()
    yield directory
    processes.remove(directory)


def translate(root, text, *options):
    return subprocess.run([ROOT / "scripts/podman-pod", "--root", root, *options], input=text, capture_output=True, text=True)


def pod_of(result):
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)


def test_a_template_becomes_a_pod_whose_volumes_are_directories_of_the_root(root):
    pod = pod_of(translate(root, DAEMONSET))
    assert pod["kind"] == "Pod" and pod["metadata"]["labels"] == {"app": "plugin"}
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["spec"]["volumes"]}
    assert paths["socket"] == f"{root}/var/run/kms"
    assert all(pathlib.Path(path).exists() for path in paths.values())
    assert pod["spec"]["hostNetwork"] is True and "priorityClassName" not in pod["spec"]


def test_every_user_can_write_to_an_emptydir_as_below_a_kubelet(root):
    pod_of(translate(root, DAEMONSET))
    assert (root / "volumes/plugin/scratch").stat().st_mode & 0o777 == 0o777


def test_an_annotation_becomes_the_file_that_the_downward_api_would_make(root):
    pod_of(translate(root, DAEMONSET))
    assert (root / "volumes/plugin/seed/seed").read_text() == "abc"


def test_a_secret_becomes_files(root):
    pod_of(translate(root, POD + "---" + SECRET))
    assert {f.name: f.read_text() for f in (root / "volumes/alone/key").iterdir()} == {"a": "b", "c": "d"}


def test_an_init_container_that_stays_becomes_a_container(root):
    spec = pod_of(translate(root, DAEMONSET))["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["build"]
    assert [c["name"] for c in spec["containers"]] == ["stays", "main"]
    assert "restartPolicy" not in spec["containers"][0] and "startupProbe" not in spec["containers"][0]


def test_each_container_has_a_file_for_its_termination_message(root):
    spec = pod_of(translate(root, DAEMONSET))["spec"]
    for container in spec["initContainers"] + spec["containers"]:
        assert "/dev/termination-log" in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert (root / f"termination/plugin-{container['name']}").read_text() == ""


def test_images_are_replaced_by_name_whatever_their_tag(root):
    spec = pod_of(translate(root, DAEMONSET, "--image=builder=local/b:2", "--image=registry.test:5000/runtime=local/r:2"))["spec"]
    assert [c["image"] for c in spec["initContainers"] + spec["containers"]] == ["local/b:2", "local/r:2", "registry.test:5000/plain"]


def test_the_name_of_the_node_is_this_machines(root):
    (variable,) = pod_of(translate(root, DAEMONSET))["spec"]["containers"][1]["env"]
    assert variable == {"name": "NODE_NAME", "value": socket.gethostname()}


@pytest.mark.parametrize("text,message", [
    ("", "none found"),
    (DAEMONSET + "---" + POD, "choose one by --workload: plugin, alone"),
    (POD, "Secret 'key' is not in the input; add it"),
    (DAEMONSET.replace("example.test/seed']", "other']"), "has no annotation"),
    ("{", "scripts/podman-pod:"),
], ids=["nothing", "two workloads", "no Secret", "no annotation", "no YAML"])
def test_what_cannot_be_translated_is_refused_in_a_line(root, text, message):
    result = translate(root, text)
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and "Traceback" not in result.stderr


def test_one_of_several_workloads_is_chosen_by_name(root):
    assert pod_of(translate(root, DAEMONSET + "---" + POD + "---" + SECRET, "--workload=alone"))["metadata"]["name"] == "alone"
