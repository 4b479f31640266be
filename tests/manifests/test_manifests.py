"""The manifests as kustomize renders them: Kubernetes' types, and the rules that users of the pods rely on."""

import configparser
import copy
import hashlib
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from support.kubernetes_types import Types
from support.node import render, render_with

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
DIRECTORIES = ["base", *(f"overlays/{path.name}" for path in sorted((MANIFESTS / "overlays").iterdir()))]
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "version", "managed-by")} | {"app"}


@pytest.fixture(scope="module")
def types():
    return Types()


@pytest.fixture(scope="module")
def rendered():
    made = {}

    def get(directory):
        if directory not in made:
            made[directory] = render(MANIFESTS / directory)
        return copy.deepcopy(made[directory])

    return get


def pod_specs(documents):
    for document in documents:
        if document["kind"] in ("DaemonSet", "Deployment"):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]
        elif document["kind"] == "Pod":
            yield document["metadata"]["name"], document["spec"]


def containers(documents):
    for _, spec in pod_specs(documents):
        yield from spec.get("initContainers", []) + spec["containers"]


def the(documents, kind):
    found = [d for d in documents if d["kind"] == kind]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_object_is_what_kubernetes_types_say(rendered, types, directory):
    documents = rendered(directory)
    assert documents
    assert [line for d in documents for line in types.findings(d, types.model_of(d), f"{d['kind']}/{d['metadata']['name']}")] == []


@pytest.mark.parametrize("change,finding", [
    (lambda spec: spec.update(hostnetwork=True), "hostnetwork: no such field"),
    (lambda spec: spec["containers"][0].pop("name"), "name: is missing"),
    (lambda spec: spec.update(terminationGracePeriodSeconds="30"), "'30' is no number"),
    (lambda spec: spec.update(tolerations={"operator": "Exists"}), "tolerations: is no list"),
], ids=["a misspelt field", "a missing field", "a wrong type", "an object for a list"])
def test_an_object_that_is_wrong_would_be_seen(rendered, types, change, finding):
    daemonset = the(rendered("base"), "DaemonSet")
    change(daemonset["spec"]["template"]["spec"])
    assert any(finding in line for line in types.findings(daemonset, "V1DaemonSet"))


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_container_is_confined_and_leaves_a_termination_message(rendered, directory):
    for container in containers(rendered(directory)):
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
        assert "privileged" not in security
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert set(container["resources"]) == {"requests"} and set(container["resources"]["requests"]) == {"cpu", "memory"}
    for _, spec in pod_specs(rendered(directory)):
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_mount_has_its_volume_and_every_volume_a_mount(rendered, directory):
    for _, spec in pod_specs(rendered(directory)):
        mounted = {m["name"] for c in spec.get("initContainers", []) + spec["containers"] for m in c["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_image_is_one_that_the_script_makes_of_this_version(rendered, directory):
    version = re.search(r"\(KMS_VERSION (.*)\)", (ROOT / "common/cmake/Version.cmake").read_text())[1]
    images = {container["image"] for container in containers(rendered(directory))}
    assert images and images <= {f"localhost/mock-kms-plugin-{target}:{version}" for target in ("builder", "runtime", "builder-go")}


def test_users_find_the_names_they_know(rendered):
    documents = rendered("base")
    assert the(documents, "Namespace")["metadata"]["name"] == "kms-plugin-test"
    daemonset = the(documents, "DaemonSet")
    template = daemonset["spec"]["template"]
    assert template["metadata"]["labels"]["app"] == "mock-kms-plugin"
    assert template["spec"]["initContainers"][0]["name"] == "build-plugin"
    assert {"name": "SUPERVISOR_SOCKET", "value": "unix:///var/run/kmsplugin/kms.sock"} in template["spec"]["containers"][0]["env"]
    assert {d["metadata"].get("namespace") for d in documents if d["kind"] != "Namespace"} == {"kms-plugin-test"}


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_object_and_pod_has_the_recommended_labels(rendered, directory):
    for document in rendered(directory):
        labels = document["metadata"]["labels"]
        assert LABELS <= labels.keys(), document["metadata"]["name"]
        assert f"(KMS_VERSION {labels['app.kubernetes.io/version']})" in (ROOT / "common/cmake/Version.cmake").read_text()
        if document["kind"] in ("DaemonSet", "Deployment"):
            of_pod = document["spec"]["template"]["metadata"]["labels"]
            assert LABELS <= of_pod.keys()
            assert document["spec"]["selector"]["matchLabels"].items() <= of_pod.items()


def test_the_overlays_that_the_documentation_shows_render(tmp_path, types):
    examples = [block for block in re.findall(r"(?ms)^```yaml[^\n]*\n(.*?)^```", (ROOT / "docs/deploy.md").read_text()) if "resources:" in block]
    assert len(examples) == 3
    for text in examples:
        (tmp_path / "kustomization.yaml").write_text(text.replace("../manifests", os.path.relpath(MANIFESTS, tmp_path)))
        documents = render(tmp_path)
        assert [line for d in documents for line in types.findings(d, types.model_of(d))] == []
        assert dict(pod_specs(documents)) != dict(pod_specs(render(MANIFESTS / "base")))


def test_the_overlay_that_sets_registry_version_and_namespace_renders_as_the_documentation_shows(tmp_path):
    text = (ROOT / "docs/deploy.md").read_text()
    overlay = re.search(r"(?ms)^```yaml kustomization.yaml\n(.*?)^```", text)[1]
    (shown,) = re.findall(r"(?ms)^```text\n(kind: Namespace\n.*?)^```", text)
    assert overlay.count("namespace") == 1  # the patch need not name the base's
    (tmp_path / "kustomization.yaml").write_text(overlay.replace("../manifests", os.path.relpath(MANIFESTS, tmp_path)))
    result = subprocess.run([ROOT / "scripts/kustomize", tmp_path], check=True, capture_output=True, text=True, timeout=300)
    lines = [line for line in result.stdout.splitlines() if re.search(r"^kind|^  name|image:", line)]
    assert lines == shown.splitlines()
    assert 'name: MOCK_KMS_KEY_VERSION\n          value: "3"' in result.stdout


def test_the_namespace_admits_privileged_pods(rendered):
    labels = the(rendered("base"), "Namespace")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"privileged"}
    assert labels["security.openshift.io/scc.podSecurityLabelSync"] == "false"


@pytest.mark.parametrize("directory,roles", [("base", ["control-plane"]), ("overlays/openshift", ["control-plane", "master"])])
def test_the_daemonset_runs_on_control_planes_whatever_their_taints(rendered, directory, roles):
    """Kubernetes warns about the label `master` at each apply, so only clusters that need it select it."""
    spec = the(rendered(directory), "DaemonSet")["spec"]["template"]["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchExpressions"] for term in terms] == [[{"key": f"node-role.kubernetes.io/{role}", "operator": "Exists"}] for role in roles]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"


@pytest.mark.parametrize("directory", ["base", "overlays/openshift", "overlays/prebuilt", "overlays/kind", "overlays/two-instances", "overlays/static-pod"])
def test_no_pod_of_a_control_plane_waits_for_what_its_own_kms_may_have_encrypted(rendered, directory):
    """A cold cluster cannot read a Secret or ConfigMap before this pod runs; nor is there a pod network."""
    for _, spec in pod_specs(rendered(directory)):
        assert spec["hostNetwork"] is True
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"hostPath", "emptyDir", "downwardAPI"}
        for container in spec.get("initContainers", []) + spec["containers"]:
            assert "envFrom" not in container
            assert [variable["name"] for variable in container["env"] if "valueFrom" in variable] in ([], ["NODE_NAME"])
            assert container["imagePullPolicy"] in ("IfNotPresent", "Never")


def test_each_setting_reaches_the_pod(rendered):
    documents = rendered("base")
    settings = yaml.safe_load((MANIFESTS / "base/settings.yaml").read_text())["data"]
    template = the(documents, "DaemonSet")["spec"]["template"]
    variables = {v["name"]: v.get("value") for c in template["spec"]["initContainers"] + template["spec"]["containers"] for v in c["env"]}
    assert settings["seed"] == template["metadata"]["annotations"]["mock-kms.test/seed"] and re.fullmatch("[0-9a-f]{64}", settings["seed"])
    reached = {"socket": "SUPERVISOR_SOCKET", "instance": "MOCK_KMS_INSTANCE", "key-version": "MOCK_KMS_KEY_VERSION", "fault": "MOCK_KMS_FAULT",
               "profile": "BUILDER_PROFILE", "path": "BUILDER_PATH",
               "repo": "BUILDER_REPO", "ref": "BUILDER_REF", "commit": "BUILDER_COMMIT"}
    assert settings.keys() - {"seed"} == reached.keys()
    assert {key: variables[name] for key, name in reached.items()} == {key: settings[key] for key in reached}
    assert "from settings.yaml" not in yaml.safe_dump_all(documents)


def test_a_patch_of_the_settings_in_an_overlay_does_not_render(tmp_path):
    """It would have no effect: the settings were copied into the pod before."""
    (tmp_path / "kustomization.yaml").write_text(f"""
resources: [{os.path.relpath(MANIFESTS / "base", tmp_path)}]
patches:
- patch: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {{name: mock-kms-plugin-settings, namespace: kms-plugin-test}}
    data: {{key-version: "7"}}
""")
    result = subprocess.run([ROOT / "scripts/kustomize", tmp_path], capture_output=True, text=True)
    assert result.returncode != 0 and "mock-kms-plugin-settings" in result.stderr


def test_the_published_seed_is_that_of_the_program():
    seed = yaml.safe_load((MANIFESTS / "base/settings.yaml").read_text())["data"]["seed"]
    assert seed == hashlib.sha256(b"mock-kms-provider published test seed").hexdigest()


def test_openshift_binds_the_scc_and_asks_for_a_selinux_type_instead_of_privileged(rendered):
    documents = rendered("overlays/openshift")
    binding = the(documents, "RoleBinding")
    assert binding["roleRef"]["name"] == "system:openshift:scc:privileged"
    account = the(documents, "ServiceAccount")["metadata"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]
    assert the(documents, "DaemonSet")["spec"]["template"]["spec"]["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}


def test_the_sidecar_is_an_init_container_that_stays_and_runs_without_root(rendered):
    spec = the(rendered("overlays/sidecar"), "Deployment")["spec"]["template"]["spec"]
    builder, supervisor = spec["initContainers"]
    assert builder["name"] == "build-plugin"
    assert supervisor["restartPolicy"] == "Always" and supervisor["startupProbe"]
    assert {"name": "SUPERVISOR_SOCKET", "value": "unix:///var/run/kmsplugin/kms-1.sock"} in supervisor["env"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


def test_two_instances_share_no_socket_no_selector_and_no_name(rendered):
    first, second = [d for d in rendered("overlays/two-instances") if d["kind"] == "DaemonSet"]
    for of in (lambda d: d["metadata"]["name"], lambda d: d["spec"]["selector"]["matchLabels"],
               lambda d: {v["name"]: v.get("value") for v in d["spec"]["template"]["spec"]["containers"][0]["env"]}["SUPERVISOR_SOCKET"]):
        assert of(first) != of(second)


@pytest.mark.parametrize("base", ["base", "overlays/openshift", "overlays/two-instances"])
def test_the_component_gives_the_build_alone_what_its_isolation_needs_and_demands_it(types, tmp_path, base):
    documents = render_with("isolated-build", tmp_path, base)
    assert [line for d in documents for line in types.findings(d, types.model_of(d))] == []
    for _, spec in pod_specs(documents):
        (builder,), (supervisor,) = spec["initContainers"], spec["containers"]
        assert builder["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID", "SYS_ADMIN"]}
        assert {"name": "BUILDER_REQUIRE_ISOLATION", "value": "true"} in builder["env"]
        assert supervisor["securityContext"]["capabilities"] == {"drop": ["ALL"]}


WORKLOADS = ["base", "overlays/openshift", "overlays/declared", "overlays/two-instances", "overlays/static-pod"]


@pytest.mark.parametrize("base", WORKLOADS)
def test_the_component_for_selinux_fits_every_workload_with_sockets_on_the_host(types, tmp_path, base):
    documents = render_with("selinux", tmp_path, base)
    assert [line for d in documents for line in types.findings(d, types.model_of(d))] == []
    specs = list(pod_specs(documents))
    assert specs and all(spec["securityContext"]["seLinuxOptions"] == {"type": "spc_t"} and spec["securityContext"]["runAsUser"] == 0 for _, spec in specs)


@pytest.mark.parametrize("base", WORKLOADS)
def test_the_prebuilt_component_compiles_nothing_in_every_workload(types, tmp_path, base):
    documents = render_with("prebuilt", tmp_path, base)
    assert [line for d in documents for line in types.findings(d, types.model_of(d))] == []
    for _, spec in pod_specs(documents):
        (supervisor,) = spec.get("initContainers", []) + spec["containers"]
        assert supervisor["args"] == ["run", "--", "/usr/libexec/mock-kms-plugin/mock-kms-provider"]
        assert {m["name"] for m in supervisor["volumeMounts"]} == {v["name"] for v in spec["volumes"]}


def test_two_instances_on_openshift_have_one_account_with_the_scc(rendered):
    account = the(rendered("overlays/openshift"), "RoleBinding")["subjects"][0]["name"]
    assert {spec["serviceAccountName"] for _, spec in pod_specs(rendered("overlays/two-instances"))} == {account}


def test_the_static_pod_is_one_pod_and_names_no_other_object(rendered):
    (pod,) = rendered("overlays/static-pod")
    assert pod["kind"] == "Pod" and "serviceAccountName" not in pod["spec"] and "affinity" not in pod["spec"]


def test_a_restart_of_the_unit_leaves_the_directory_that_kube_apiserver_mounts():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(MANIFESTS / "systemd/mock-kms-plugin.service")
    assert "kmsplugin" in unit["Service"]["RuntimeDirectory"].split() and unit["Service"]["RuntimeDirectoryPreserve"] == "yes"


@pytest.mark.parametrize("unit", sorted((MANIFESTS / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_units_are_what_systemd_understands(unit, tmp_path):
    """systemd-analyze warns on stderr about unknown keys and sections. It checks that programs exist, so the test creates them."""
    text = re.sub(r"/usr/bin/(builder|supervisor)", "/bin/true", unit.read_text())
    (tmp_path / unit.name).write_text(text)
    for other in unit.parent.glob("*.service"):
        if other != unit:
            (tmp_path / other.name).write_text(re.sub(r"/usr/bin/(builder|supervisor)", "/bin/true", other.read_text()))
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / unit.name], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and unit.name not in result.stderr, result.stderr


def test_the_image_lists_the_packages_that_the_scripts_install():
    """Containerfile and scripts/setup.sh need the same ones, the time savers included."""
    file = (ROOT / "manifests/image/Containerfile").read_text()
    listed = set(re.search(r"install -q -y --no-install-recommends \\\n(.*?)\n && rm", file, re.S).group(1).replace("\\", "").split())
    command = '. scripts/setup.sh; printf "%s\\n" "${build_needs[@]}" "${time_savers[@]}"'
    needs = subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    rows = [line.split() for line in (ROOT / "scripts/packages").read_text().splitlines() if line and not line.startswith("#")]
    packages = {row[0]: row[1] for row in rows}  # those of apt
    wanted = {packages[need] for need in needs}
    assert listed - {"ca-certificates", "openssh-client"} == wanted
