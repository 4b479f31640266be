"""The steps with KMS_MODE=operator: OpenShift's operators run the plugin as a sidecar of their API servers."""

import json
import re

import pytest
import yaml

from manifests.test_steps import HEALTHY, Job
from support import processes

IMAGE = "registry.example/team/mock-kms-plugin-vault-stand-in@sha256:" + "0123456789abcdef" * 4
OLD_FIELDS = ["kmsPluginImage", "vaultAddress", "vaultNamespace", "tls", "authentication", "transitMount", "transitKey"]
NEW_FIELDS = ["kmsPluginImage", "vaultAddress", "vaultNamespace", "vaultAuthNamespace", "tls", "authentication", "vaultKeyPath"]
NAMESPACES = {"openshift-kube-apiserver": "kube-apiserver", "openshift-apiserver": "apiserver", "openshift-oauth-apiserver": "oauth-apiserver"}
SIDECARS = {namespace: {f"{name}-master-{i}": ["setup", "vault-kms-plugin-1"] for i in range(2)} for namespace, name in NAMESPACES.items()}
CLUSTER = {"nodes": {"master-0": {}, "master-1": {}}, "vault_fields": NEW_FIELDS, "sidecars": SIDECARS, "migration": ["EncryptionCompleted"],
           "etcd": "k8s:enc:kms:v2:1_secrets:bytes"}
MODE = {"KMS_MODE": "operator", "KMS_PLUGIN_SIDECAR_IMAGE": IMAGE}


@pytest.fixture
def job():
    directory = processes.short_directory()
    yield Job(directory)
    processes.remove(directory)


def patched(job):
    """The values that spec.encryption was replaced by."""
    calls = [call for call in job.called("patch apiserver cluster --type=json -p ")]
    return [json.loads(call.partition(" -p ")[2])[0]["value"] for call in calls]


def vault_of(job):
    (value,) = patched(job)
    assert value["type"] == "KMS" and value["kms"]["type"] == "Vault"
    return value["kms"]["vault"]


AUTHENTICATION = {"type": "AppRole", "appRole": {"secret": {"name": "mock-kms-approle"}}}


def test_configure_writes_the_configuration_that_the_api_has(job):
    result = job.run("configure", CLUSTER, **MODE, KMS_VAULT_NAMESPACE="admin/team", KMS_VAULT_AUTH_NAMESPACE="admin")
    assert result.returncode == 0, result.stderr
    assert vault_of(job) == {"kmsPluginImage": IMAGE, "vaultAddress": "https://vault.mock-kms.test:8200", "authentication": AUTHENTICATION,
                             "vaultKeyPath": "transit/keys/mock-kms", "vaultNamespace": "admin/team", "vaultAuthNamespace": "admin"}
    (secret,) = job.applied()
    assert (secret["kind"], secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("Secret", "openshift-config", "mock-kms-approle")
    assert secret["stringData"].keys() == {"role-id", "secret-id"} and all(secret["stringData"].values())
    assert job.junit("configure") == {"encryption of all resources": "passed"}


def test_configure_takes_the_older_fields_where_the_api_has_them(job):
    result = job.run("configure", {**CLUSTER, "vault_fields": OLD_FIELDS}, **MODE, KMS_TRANSIT_MOUNT="k8s", KMS_TRANSIT_KEY="kek")
    assert result.returncode == 0, result.stderr
    assert vault_of(job) == {"kmsPluginImage": IMAGE, "vaultAddress": "https://vault.mock-kms.test:8200", "authentication": AUTHENTICATION,
                             "transitMount": "k8s", "transitKey": "kek"}


@pytest.mark.parametrize("scenario, variables, code, message", [
    ({}, {"KMS_PLUGIN_SIDECAR_IMAGE": ""}, 2, "KMS_PLUGIN_SIDECAR_IMAGE='' is not an image by digest; write it as registry.example/"),
    ({}, {"KMS_PLUGIN_SIDECAR_IMAGE": IMAGE.replace("registry.example", "localhost")}, 2, "is not an image by digest"),
    ({}, {"KMS_PLUGIN_SIDECAR_IMAGE": IMAGE.partition("@")[0] + ":latest"}, 2, "is not an image by digest"),
    ({}, {"KMS_PLUGIN_SIDECAR_IMAGE": IMAGE[:-1]}, 2, "is not an image by digest"),
    ({}, {"KMS_PLUGIN_SIDECAR_IMAGE": "registry.example/" + "x" * 400 + IMAGE[-72:]}, 2, "is longer than the 447 characters"),
    ({}, {"KMS_VAULT_ADDRESS": "http://vault:8200"}, 2, "is not an https URL without a path"),
    ({}, {"KMS_TRANSIT_KEY": "a\"b"}, 2, "is not the name of a transit key"),
    ({}, {"KMS_APPROLE_SECRET": "My_Secret"}, 2, "is not the name of a Secret"),
    ({}, {"KMS_MODE": "sidecar"}, 2, "KMS_MODE='sidecar' is not daemonset or operator"),
    ({"openshift": False}, {}, 2, "KMS_MODE=operator needs OpenShift"),
    ({"vault_fields": None}, {}, 1, "this cluster's API has no spec.encryption.kms.vault.kmsPluginImage"),
    ({"vault_fields": OLD_FIELDS}, {"KMS_VAULT_AUTH_NAMESPACE": "admin"}, 1, "this cluster's API has no vaultAuthNamespace"),
    ({"approle_owner": ""}, {}, 1, "there is a Secret mock-kms-approle in openshift-config that is not of this step"),
])
def test_configure_refuses_before_it_changes_anything(job, scenario, variables, code, message):
    result = job.run("configure", {**CLUSTER, **scenario}, **{**MODE, **variables})
    assert result.returncode == code and message in result.stderr, result.stderr
    assert not [call for call in job.calls if re.search("apply|patch|replace|delete|create", call)]


def test_configure_may_run_twice_and_keeps_what_was_there_at_first(job):
    for before in ('{"type":"aescbc"}', '{"kms":{"vault":{"authentication":{"appRole":{"secret":{"name":"mock-kms-approle"}}}}},"type":"KMS"}'):
        result = job.run("configure", {**CLUSTER, "encryption": before, "approle_owner": "mock-kms-plugin"}, **MODE)
        assert result.returncode == 0, result.stderr
    assert json.loads((job.shared / "kms-previous-encryption.json").read_text()) == {"type": "aescbc"}


def test_deploy_has_nothing_to_do(job):
    result = job.run("deploy", CLUSTER, KMS_MODE="operator", KMS_PLUGIN_BUILDER_IMAGE="", KMS_PLUGIN_RUNTIME_IMAGE="")
    assert result.returncode == 0 and not job.calls and "the operators run the plugin" in job.junit("deploy")["plugin on every node"]


def test_verify_asks_each_sidecar_of_the_three_api_servers(job):
    result = job.run("verify", CLUSTER, KMS_MODE="operator")
    assert result.returncode == 0, result.stderr + result.stdout
    cases = job.junit("verify")
    assert set(cases.values()) == {"passed"} and len(cases) == 7
    for namespace, name in NAMESPACES.items():
        for i in range(2):
            assert cases[f"plugin on {namespace}/{name}-master-{i}/vault-kms-plugin-1"] == "passed"
            assert job.called(f"-n {namespace} exec -i {name}-master-{i} -c vault-kms-plugin-1 -- env MOCK_KMS_SOCKET=unix:///var/run/kmsplugin/kms-1.sock supervisor status")
    assert len(job.called("mock-kms-provider encrypt")) == 1 and len(job.called("mock-kms-provider decrypt")) == 6
    assert job.called("-n default create secret") and job.called("inspect --encoding base64 --key /kubernetes.io/secrets/default/")


def test_verify_of_a_migration_compares_sidecars_of_one_number(job):
    both = {namespace: {pod: ["vault-kms-plugin-1", "vault-kms-plugin-2"] for pod in pods} for namespace, pods in SIDECARS.items()}
    result = job.run("verify", {**CLUSTER, "sidecars": both}, KMS_MODE="operator")
    assert result.returncode == 0, result.stderr + result.stdout
    assert len(job.called("mock-kms-provider encrypt")) == 2 and len(job.called("mock-kms-provider decrypt")) == 12


def test_verify_names_a_pod_without_a_sidecar_and_an_unhealthy_one(job):
    sidecars = {**SIDECARS, "openshift-apiserver": {"apiserver-master-0": ["setup"]}, "openshift-oauth-apiserver": {}}
    result = job.run("verify", {**CLUSTER, "nodes": {"master-0": {}, "master-1": {"never_healthy": True}}, "sidecars": sidecars}, KMS_MODE="operator")
    cases = job.junit("verify")
    assert result.returncode == 1
    assert "the pod has no container vault-kms-plugin-N" in cases["plugin on openshift-apiserver/apiserver-master-0"]
    assert cases["sidecars of openshift-oauth-apiserver"] == "no API server was found there"
    assert "NOT HEALTHY" in cases["plugin on openshift-kube-apiserver/kube-apiserver-master-1/vault-kms-plugin-1"]


def test_cleanup_puts_back_what_was_there_and_removes_the_secret_at_the_end(job):
    (job.shared / "kms-previous-encryption.json").write_text('{"type":"aescbc"}')
    result = job.run("cleanup", {**CLUSTER, "migration": ["EncryptionInProgress", "EncryptionCompleted"]}, KMS_MODE="operator", KMS_DECRYPT_FIRST="true")
    assert result.returncode == 0, result.stderr
    assert patched(job) == [{"type": "aescbc"}] and job.junit("cleanup") == {"migration": "passed"}
    assert job.called("-n openshift-config delete secrets -l app=mock-kms-plugin") and not job.called("delete namespace")
    kept = job.artifacts / "kms-mock-plugin/openshift-kube-apiserver/kube-apiserver-master-0/vault-kms-plugin-1"
    assert {path.name for path in kept.iterdir()} == {"status.json", "events.json", "journal.json", "counts.txt", "provider-metrics.txt",
                                                      "supervisor-metrics.txt", "build-info.json", "supervisor.log"}


def test_cleanup_makes_the_page_of_all_sidecars(job):
    (job.shared / "kms-previous-encryption.json").write_text("{}")
    result = job.run("cleanup", {**CLUSTER, "migration": ["DecryptionCompleted"]}, KMS_MODE="operator", KMS_DECRYPT_FIRST="true")
    assert result.returncode == 0, result.stderr
    page = (job.artifacts / "kms-mock-plugin-summary.html").read_text()
    for name in NAMESPACES.values():
        assert f"{name}-master-0" in page and f"{name}-master-1" in page
    assert "build-plugin.log" not in page, "the image has the plugin, and no pod builds it"


def test_cleanup_turns_encryption_off_if_there_was_none(job):
    (job.shared / "kms-previous-encryption.json").write_text("{}")
    result = job.run("cleanup", {**CLUSTER, "migration": ["DecryptionCompleted"]}, KMS_MODE="operator", KMS_DECRYPT_FIRST="true")
    assert result.returncode == 0 and patched(job) == [{}], result.stderr


def test_cleanup_keeps_the_secret_until_the_migration_is_proven(job):
    values = {"/kubernetes.io/secrets/default/a": "k8s:enc:kms:v2:1_secrets:\x0a"}
    result = job.run("cleanup", {**CLUSTER, "etcd_values": values, "migration": ["DecryptionCompleted"]}, KMS_MODE="operator",
                     KMS_DECRYPT_FIRST="true", KMS_MIGRATION_TIMEOUT="1s")
    assert result.returncode == 1 and not job.called("delete")
    assert "etcd still has values under KMS (1 secrets)" in result.stderr
    result = job.run("cleanup", {**CLUSTER}, KMS_MODE="operator")
    assert result.returncode == 0 and not job.called("delete") and "need the image until they are done" in result.stdout


def test_the_applied_secret_is_yaml_that_kubernetes_takes(job):
    job.run("configure", CLUSTER, **MODE)
    (secret,) = yaml.safe_load_all((job.directory / "applied.yaml").read_text().replace("\n---\n", ""))
    assert re.fullmatch("[0-9a-f]{32}", str(secret["stringData"]["secret-id"])) and HEALTHY
