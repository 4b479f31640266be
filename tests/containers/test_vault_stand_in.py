"""The image vault-stand-in in pods as OpenShift's operators render them: a native sidecar with arguments only."""

import json
import pathlib
import re
import time

import pytest

from support.kms_client import KmsClient
from support.node import IMAGES
from support.processes import DEADLINE

HARDENED = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}}
POD = "kube-apiserver"


def sidecar(number, key="transit/keys/mock-kms", older=False, **security):
    """As library-go's pluginlifecycle builds it, in its newer and its older form."""
    named = [f"-transit-mount={key.split('/keys/')[0]}", f"-transit-key={key.split('/keys/')[1]}"] if older else [f"-vault-key-path={key}"]
    return {"name": f"vault-kms-plugin-{number}", "image": "mock-kms-plugin-vault-stand-in", "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always", "terminationMessagePolicy": "FallbackToLogsOnError",
            "args": [f"-listen-address=unix:///var/run/kmsplugin/kms-{number}.sock", "-vault-address=https://vault.example:8200", *named,
                     "-approle-role-id=role", "-approle-secret-id-path=/var/run/secrets/kms-plugin/secret-id",
                     "-tls-ca-file=/var/run/secrets/kms-plugin/ca-bundle.crt", "-tls-sni=vault.example", "-vault-namespace=admin",
                     "-metrics-port=0"],
            "resources": {"requests": {"memory": "64Mi", "cpu": "10m"}, "limits": {"memory": "64Mi"}},
            "securityContext": {**HARDENED, **security},
            "volumeMounts": [{"name": "kms-plugin-socket", "mountPath": "/var/run/kmsplugin"},
                             {"name": "kms-plugins-data", "mountPath": "/var/run/secrets/kms-plugin", "readOnly": True}]}


def pod(*sidecars, **security):
    """An API server's pod; the API server itself only waits."""
    waiting = {"name": "waits", "image": "mock-kms-plugin-runtime", "command": ["sleep", "3600"],
               "volumeMounts": [{"name": "kms-plugin-socket", "mountPath": "/var/run/kmsplugin"}]}
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD},
             "spec": {"securityContext": security, "initContainers": list(sidecars), "containers": [waiting],
                      "volumes": [{"name": "kms-plugin-socket", "emptyDir": {}},
                                  {"name": "kms-plugins-data", "secret": {"secretName": "encryption-config-7"}}]}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "encryption-config-7"},
             "stringData": {"secret-id": "1f2e3d4c\n", "ca-bundle.crt": "-----BEGIN CERTIFICATE-----\n"}}]


def apply(node, documents):
    result = node.apply(documents)
    assert result.returncode == 0, (result.stderr, node.podman("ps", "--all").stdout)


def client(node, number):
    return KmsClient(f"unix://{node.root}/volumes/{POD}/kms-plugin-socket/kms-{number}.sock", timeout=DEADLINE)


def status(node, number):
    return json.loads(node.exec(f"{POD}-vault-kms-plugin-{number}", "supervisor", "status", "--wait=60s", "-o", "json", timeout=90).stdout)


def memory_of(pid):
    """The memory in KiB of a process and its children."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss: +(\d+)", rollup, re.M)[1]) + sum(memory_of(int(child)) for child in children)


def test_a_sidecar_works_with_arguments_only_as_any_user_and_has_the_same_keys_in_every_pod(node):
    sealed = None
    for security in ({"runAsUser": 0}, {"runAsUser": 1000650000, "runAsGroup": 0}, {}):  # the last: the image's user
        group = {"fsGroup": 0, "runAsUser": security["runAsUser"]} if security.get("runAsUser") else {}
        apply(node, pod(sidecar(1, **security), **group))
        found = status(node, 1)
        assert found["supervisorPid"] == 1 and found["answer"]["keyId"].startswith("admin.mock-kms/v1/")
        with client(node, 1) as kms:
            sealed = sealed or kms.encrypt(b"of the first pod")
            assert kms.decrypt(sealed) == b"of the first pod"
        name = f"{POD}-vault-kms-plugin-1"
        assert memory_of(node.pid(name)) < 64 * 1024
        assert "Read-only file system" in node.exec(name, "touch", "/etc/changed", check=False).stderr
        node.forget(POD)


def test_sidecars_in_one_pod_migrate_and_both_forms_of_a_key_mean_the_same(node):
    apply(node, pod(sidecar(1), sidecar(2, key="transit/keys/second"), sidecar(3, older=True)))
    keys = [status(node, number)["answer"]["keyId"] for number in (1, 2, 3)]
    assert keys[0].startswith("admin.mock-kms/") and keys[1].startswith("admin.second/") and keys[2] == keys[0]
    with client(node, 1) as old, client(node, 2) as new, client(node, 3) as same:
        sealed = old.encrypt(b"migrated")
        assert new.decrypt(new.encrypt(old.decrypt(sealed))) == b"migrated"
        assert same.decrypt(sealed) == b"migrated"
        with pytest.raises(Exception, match="belongs to another instance"):
            new.decrypt(sealed)


def test_a_plugin_that_dies_is_restarted_and_a_stopped_pod_leaves_no_socket(node):
    apply(node, pod(sidecar(1)))
    before = status(node, 1)
    name = f"{POD}-vault-kms-plugin-1"
    with client(node, 1) as kms:
        sealed = kms.encrypt(b"a secret")
    node.exec(name, "sh", "-c", f"kill -9 {before['pid']}")
    until = time.monotonic() + DEADLINE
    while status(node, 1)["restarts"] == 0:
        assert time.monotonic() < until
    with client(node, 1) as kms:
        assert kms.decrypt(sealed) == b"a secret"
    node.podman("stop", "--time", "30", name)
    assert not list((node.root / "volumes" / POD / "kms-plugin-socket").iterdir())


def test_a_missing_argument_is_named_by_the_status(node):
    broken = sidecar(1)
    broken["args"] = [word for word in broken["args"] if "role-id" not in word]
    apply(node, pod(broken))
    until = time.monotonic() + DEADLINE
    while "--approle-role-id is missing" not in (seen := node.exec(f"{POD}-vault-kms-plugin-1", "supervisor", "status", check=False).stdout):
        assert time.monotonic() < until, seen
        time.sleep(0.2)


def test_a_pod_may_run_it_through_a_shell(node):
    image = IMAGES["mock-kms-plugin-vault-stand-in"]
    seen = node.podman("run", "--rm", "--network=none", "--entrypoint", "/bin/sh", image, "-c",
                       "echo 1 > /tmp/id; timeout 3 /vault-kube-kms -listen-address=unix:///tmp/k.sock -vault-address=https://v:8200 "
                       "-approle-role-id=r -approle-secret-id-path=/tmp/id -metrics-port=0 2>&1 || true")
    assert "stands in for vault-kube-kms" in seen.stdout
