"""The steps of the step registry, run as a job runs them, against a client that records and plays a cluster."""

import json
import pathlib
import re
import subprocess
import xml.etree.ElementTree as xml

import pytest
import yaml

from support import processes
from support.kubernetes_types import Types
from support.steps import REGISTRY, defaults, file_of, junit

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = ["deploy", "configure", "verify", "cleanup"]
HEALTHY = {"nodes": {f"master-{i}": {} for i in range(3)}}
SEED = "0123456789" * 6 + "abcd"


class Job:
    def __init__(self, directory, client="oc"):
        self.directory = directory
        self.shared, self.artifacts, self.calls_file = directory / "shared", directory / "artifacts", directory / "calls"
        for made in (self.shared, self.artifacts, directory / "bin"):
            made.mkdir()
        (directory / "bin" / client).symlink_to(ROOT / "tests/manifests/recording_client.py")
        for tool in ("bash", "awk", "sed", "grep", "sort", "head", "tail", "tr", "wc", "od", "cat", "sleep", "date", "mkdir", "rm", "cp", "base64", "env", "timeout", "mktemp", "uniq", "tar"):
            target = next(p for p in (pathlib.Path(d) / tool for d in ("/usr/bin", "/bin")) if p.exists())
            (directory / "bin" / tool).symlink_to(target)

    def environment(self, step, scenario, **variables):
        (self.directory / "scenario").write_text(json.dumps(scenario))
        environment = {"PATH": str(self.directory / "bin"), "SHARED_DIR": str(self.shared), "ARTIFACT_DIR": str(self.artifacts),
                       "SCENARIO": str(self.directory / "scenario"), "SUPERVISOR": processes.binary("supervisor"), "CALLS": str(self.calls_file), "KMS_POLL_SECONDS": "0", **variables}
        if step == "deploy":
            images = {name: f"registry.test/{name.lower()}:1" for name in ("KMS_PLUGIN_BUILDER_IMAGE", "KMS_PLUGIN_RUNTIME_IMAGE")}
            environment = {**images, **environment}
        if step == "configure":
            environment = {"KMS_ENCRYPTION_PATCH": '{"spec":{"encryption":{"type":"KMS"}}}', **environment}
        self.calls_file.write_text("")
        return environment

    def run(self, step, scenario, **variables):
        """The step with the variables of its job; those it leaves out have the ref's defaults."""
        environment = self.environment(step, scenario, **variables)
        result = subprocess.run(["bash", file_of(step, "commands.sh")], env=environment, capture_output=True, text=True, timeout=300, cwd="/")
        assert "no test has seen this call" not in result.stdout + result.stderr
        return result

    @property
    def calls(self):
        return self.calls_file.read_text().splitlines()

    def called(self, part):
        return [call for call in self.calls if part in call]

    def applied(self):
        return [d for d in yaml.safe_load_all((self.directory / "applied.yaml").read_text()) if d]

    def junit(self, step):
        return junit(self.artifacts, step)


@pytest.fixture
def job():
    directory = processes.short_directory()
    yield Job(directory)
    processes.remove(directory)


# --- the files of the registry


def test_the_commands_are_what_templates_and_manifests_say():
    result = subprocess.run([ROOT / "scripts/steps", "--check"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def test_drift_would_be_seen():
    """scripts/steps --check on a copy whose template differs."""
    directory = processes.short_directory()
    try:
        subprocess.run(["cp", "-r", ROOT / "scripts", ROOT / "manifests", directory], check=True)
        (directory / "build").symlink_to(ROOT / "build")  # a kubectl that was got already
        with (directory / "manifests/step-templates/deploy.in").open("a") as template:
            template.write("# one line more\n")
        result = subprocess.run([directory / "scripts/steps", "--check"], capture_output=True, text=True, timeout=300)
        assert result.returncode == 1 and "kms-mock-plugin-deploy-commands.sh" in result.stderr
    finally:
        processes.remove(directory)


def test_every_file_has_the_name_that_its_directory_asks_for():
    for path in REGISTRY.rglob("*"):
        if path.is_file() and path.name != "OWNERS" and path.suffix != ".md":
            prefix = "-".join(path.parent.relative_to(REGISTRY).parts)
            assert re.fullmatch(rf"{prefix}-(ref\.yaml|commands\.sh|chain\.yaml|workflow\.yaml)", path.name), path


@pytest.mark.parametrize("step", STEPS)
def test_a_ref_names_its_commands_and_documents_each_variable(step):
    ref = yaml.safe_load(file_of(step, "ref.yaml").read_text())["ref"]
    assert ref["as"] == f"kms-mock-plugin-{step}" and ref["commands"] == file_of(step, "commands.sh").name
    assert {"from", "resources", "timeout", "grace_period", "documentation", "env"} <= ref.keys()
    assert all(isinstance(entry["default"], str) and entry["documentation"] for entry in ref["env"])
    assert ref.get("best_effort", False) == (step == "cleanup")


def seconds(duration):
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


@pytest.mark.parametrize("step,minutes_a_pod", [("deploy", 8), ("configure", 0), ("verify", 4), ("cleanup", 11)])
def test_a_ref_leaves_time_for_the_slowest_run_of_its_step(step, minutes_a_pod):
    """A cluster that does not answer at first (13 min), the time limits of the job, and three pods whose every answer takes a minute."""
    allowed = sum(seconds(value) for name, value in defaults(step).items() if name.endswith("_TIMEOUT"))
    ref = yaml.safe_load(file_of(step, "ref.yaml").read_text())["ref"]
    assert seconds(ref["timeout"]) >= 13 * 60 + allowed + 3 * minutes_a_pod * 60


@pytest.mark.parametrize("step", STEPS)
def test_a_step_uses_the_variables_of_its_ref_and_no_others(step):
    text = re.sub(r"(?m)^\s*#.*$", "", file_of(step, "commands.sh").read_text())
    used = set(re.findall(r"\bKMS_[A-Z_]+\b", text)) - {"KMS_POLL_SECONDS"}
    used -= {name for name in used if re.search(rf"MOCK_{name}\b", text) and not re.search(rf"(?<!MOCK_){name}\b", text)}
    assert used == defaults(step).keys() - {"KMS_POLL_SECONDS"}


def test_the_chain_and_the_workflow_name_steps_that_exist():
    chain = yaml.safe_load((REGISTRY / "kms/mock-plugin/provision/kms-mock-plugin-provision-chain.yaml").read_text())["chain"]
    assert [step["ref"] for step in chain["steps"]] == [f"kms-mock-plugin-{step}" for step in ("deploy", "configure", "verify")]
    workflow = yaml.safe_load((REGISTRY / "kms/mock-plugin/kms-mock-plugin-workflow.yaml").read_text())["workflow"]
    assert workflow["steps"]["env"]["KMS_DECRYPT_FIRST"] == "true"  # the plugin goes at its end
    assert {"chain": chain["as"]} in workflow["steps"]["pre"] and {"ref": "kms-mock-plugin-cleanup"} in workflow["steps"]["post"]


# --- every step

ENCRYPTED = {**HEALTHY, "etcd": "k8s:enc:kms:v2:1_secrets:\x0a\x80bytes"}
DONE = {**ENCRYPTED, "migration": ["EncryptionCompleted"]}


@pytest.mark.parametrize("client", ["oc", "kubectl"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_works_with_either_client_and_the_defaults_alone(step, client):
    directory = processes.short_directory()
    try:
        job = Job(directory, client)
        result = job.run(step, DONE)
        assert result.returncode == 0, result.stderr
        assert job.calls and set(job.junit(step).values()) == {"passed"}
    finally:
        processes.remove(directory)


@pytest.mark.parametrize("openshift", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_tries_every_call_again_that_fails_for_a_moment(job, step, openshift):
    scenario = {**DONE, "openshift": openshift, "flaky": True, "migration": ["DecryptionCompleted" if step == "cleanup" else "EncryptionCompleted"]}
    result = job.run(step, scenario, KMS_MIGRATE="true", KMS_DECRYPT_FIRST="true", KMS_PROVIDER_NAME="1_secrets")
    assert result.returncode == 0, result.stderr
    assert "trying again: Error from server: etcdserver: leader changed" in result.stderr
    assert "half of an ans" not in result.stdout and set(job.junit(step).values()) == {"passed"}


def test_a_step_does_not_try_a_refusal_again(job):
    assert job.run("configure", {**HEALTHY, "patch_code": 1}).returncode == 1
    assert len(job.called("patch apiserver")) == 1


@pytest.mark.parametrize("step,variables,message", [
    ("deploy", {"KMS_DEPLOY_TIMEOUT": "soon"}, "KMS_DEPLOY_TIMEOUT='soon' is not a duration; write it as 90s, 15m or 1h"),
    ("deploy", {"KMS_DEPLOY_TIMEOUT": "1m30"}, "KMS_DEPLOY_TIMEOUT='1m30' is not a duration"),
    ("deploy", {"KMS_DEPLOY_TIMEOUT": "m"}, "KMS_DEPLOY_TIMEOUT='m' is not a duration"),
    ("deploy", {"KMS_BUILD_TRIES": "few"}, "KMS_BUILD_TRIES='few' is not a number from 1"),
    ("deploy", {"KMS_KEY_VERSION": "0"}, "KMS_KEY_VERSION='0' is not a number from 1"),
    ("deploy", {"KMS_POLL_SECONDS": "often"}, "KMS_POLL_SECONDS='often' is not a number of seconds"),
    ("deploy", {"KMS_SEED": "short"}, "KMS_SEED is not 64 hexadecimal digits"),
    ("deploy", {"KMS_PLUGIN_RUNTIME_IMAGE": ""}, "KMS_PLUGIN_RUNTIME_IMAGE is not set"),
    ("deploy", {"KMS_PLUGIN_PROFILE": "other"}, "KMS_PLUGIN_PROFILE='other' is not embedded or openshift"),
    ("deploy", {"KMS_PLUGIN_PROFILE": "openshift", "KMS_PLUGIN_BUILDER_IMAGE": ""}, "name the image that 'scripts/image builder-go' built"),
    *((step, {"KMS_PLUGIN_NAMESPACE": "My_Space"}, "KMS_PLUGIN_NAMESPACE='My_Space' is not the name of a namespace") for step in STEPS),
    ("configure", {"KMS_PROVIDER_NAME": "a: b"}, "KMS_PROVIDER_NAME='a: b' is not a provider's name"),
    ("verify", {"KMS_PROVIDER_NAME": "*"}, "KMS_PROVIDER_NAME='*' is not a provider's name"),
    ("configure", {"KMS_MIGRATE": "yes"}, "KMS_MIGRATE='yes' is not true or false"),
    ("configure", {"KMS_RESOURCES": "*.*"}, "KMS_RESOURCES='*.*' is not a list of resources"),
    ("configure", {"KMS_MIGRATION_TIMEOUT": ""}, "KMS_MIGRATION_TIMEOUT='' is not a duration"),
    ("cleanup", {"KMS_DECRYPT_FIRST": "True"}, "KMS_DECRYPT_FIRST='True' is not true or false"),
    ("cleanup", {"KMS_CLEANUP_TIMEOUT": "5 minutes"}, "KMS_CLEANUP_TIMEOUT='5 minutes' is not a duration"),
])
def test_a_step_refuses_bad_input_before_it_changes_anything(job, step, variables, message):
    result = job.run(step, DONE, **variables)
    assert result.returncode == 2 and message in result.stderr, result.stderr
    assert not [call for call in job.calls if re.search("apply|patch|replace|delete", call)]
    assert message in job.junit(step)[f"kms-mock-plugin-{step}"]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_needs_its_directories_and_a_client(job, step):
    result = job.run(step, DONE, SHARED_DIR="/nowhere")
    assert result.returncode == 2 and "SHARED_DIR is not a directory" in result.stderr
    (job.directory / "bin/oc").unlink()
    result = job.run(step, DONE)
    assert result.returncode == 2 and "neither oc nor kubectl" in result.stderr


@pytest.mark.parametrize("step", STEPS)
def test_a_step_waits_for_a_cluster_and_names_its_absence(job, step):
    assert job.run(step, {**DONE, "silent": 3}).returncode == 0
    result = job.run(step, {**DONE, "silent": 1000})
    assert result.returncode == 3
    message = "no cluster answers: The connection to the server localhost:8080 was refused"
    assert message in result.stderr and message in job.junit(step)[f"kms-mock-plugin-{step}"]


def test_a_step_that_is_killed_has_a_failure_in_its_junit(job):
    environment = job.environment("deploy", {"nodes": {"master-0": {"never_healthy": True}}}, KMS_POLL_SECONDS="1")
    with subprocess.Popen(["bash", file_of("deploy", "commands.sh")], env=environment, stdout=subprocess.PIPE, text=True) as step:
        next(line for line in step.stdout if "waiting for master-0" in line)
        step.terminate()
        step.communicate(timeout=60)
    assert step.returncode != 0
    assert "it ended before it was done" in job.junit("deploy")["kms-mock-plugin-deploy"]


# --- deploy


def test_deploy_succeeds_if_every_node_is_healthy(job):
    result = job.run("deploy", HEALTHY)
    assert result.returncode == 0, result.stderr
    assert job.junit("deploy") == {f"plugin on master-{i}": "passed" for i in range(3)}
    shared = {path.name: path.read_text().strip() for path in job.shared.iterdir()}
    assert shared.pop("kms-plugin-seed") and shared == {
        "kms-plugin-socket-path": "/var/run/kmsplugin/kms.sock", "kms-plugin-namespace": "kms-plugin-test", "kms-plugin-version": "mock-kms-provider 0.1.0"}
    assert len(job.called("mock-kms-provider encrypt")) == 1 and len(job.called("mock-kms-provider decrypt")) == 3


def test_deploy_applies_what_kubernetes_takes_with_what_the_job_chose(job):
    types = Types()
    fault = """{"name": "it's",\n "healthz": "a \\"quoted\\" $HOME `id` text"}"""
    result = job.run("deploy", HEALTHY, KMS_PLUGIN_NAMESPACE="elsewhere", KMS_FAULT=fault, KMS_KEY_VERSION="7", KMS_SEED=SEED, KMS_PLUGIN_REF="release-1")
    assert result.returncode == 0, result.stderr
    documents = job.applied()
    assert [line for d in documents for line in types.findings(d, types.model_of(d))] == []
    assert {d["kind"] for d in documents} == {"Namespace", "ServiceAccount", "DaemonSet", "RoleBinding"}
    assert {d["metadata"].get("namespace", "elsewhere") for d in documents} == {"elsewhere"}
    template = next(d for d in documents if d["kind"] == "DaemonSet")["spec"]["template"]
    containers = template["spec"]["initContainers"] + template["spec"]["containers"]
    variables = {v["name"]: v.get("value") for c in containers for v in c["env"]}
    assert (variables["MOCK_KMS_FAULT"], variables["MOCK_KMS_KEY_VERSION"], variables["BUILDER_REF"]) == (fault.replace("\n", " "), "7", "release-1")
    assert template["metadata"]["annotations"]["mock-kms.test/seed"] == SEED
    assert [c["image"] for c in containers] == ["registry.test/kms_plugin_builder_image:1", "registry.test/kms_plugin_runtime_image:1"]


def test_deploy_runs_the_upstream_mock_of_a_repository_that_the_job_chose(job):
    types = Types()
    chosen = {"KMS_PLUGIN_PROFILE": "openshift", "KMS_PLUGIN_REPO": "https://git.test/kubernetes.git", "KMS_PLUGIN_PATH": "a/_mock",
              "KMS_PLUGIN_REF": "release-1", "KMS_PLUGIN_RUNTIME_IMAGE": ""}
    result = job.run("deploy", HEALTHY, **chosen)
    assert result.returncode == 0, result.stderr
    documents = job.applied()
    assert [line for d in documents for line in types.findings(d, types.model_of(d))] == []
    template = next(d for d in documents if d["kind"] == "DaemonSet")["spec"]["template"]
    builder, token, supervisor = template["spec"]["initContainers"] + template["spec"]["containers"]
    variables = {v["name"]: v.get("value") for v in builder["env"]}
    assert [variables[f"BUILDER_{name}"] for name in ("PROFILE", "REPO", "PATH", "REF")] == \
        ["openshift", "https://git.test/kubernetes.git", "a/_mock", "release-1"]
    assert {c["image"] for c in (builder, token, supervisor)} == {"registry.test/kms_plugin_builder_image:1"}
    assert token["command"] == ["/usr/libexec/mock-kms-plugin/softhsm-token"] and supervisor["args"][2] == "/plugin/mock-kms-plugin"
    assert (job.shared / "kms-plugin-version").read_text().strip() == "mock-kms-plugin " + "c" * 40


def test_deploy_keeps_the_seed_of_the_cluster_then_of_the_job(job):
    job.run("deploy", {**HEALTHY, "seed": SEED})
    assert (job.shared / "kms-plugin-seed").read_text() == SEED
    job.run("deploy", HEALTHY)
    assert (job.shared / "kms-plugin-seed").read_text() == SEED


def test_deploy_makes_a_new_seed_if_there_is_none(job):
    job.run("deploy", HEALTHY)
    first = (job.shared / "kms-plugin-seed").read_text()
    (job.shared / "kms-plugin-seed").unlink()
    job.run("deploy", HEALTHY)
    assert re.fullmatch("[0-9a-f]{64}", first) and (job.shared / "kms-plugin-seed").read_text() != first


def test_deploy_waits_for_slow_nodes_and_says_for_which(job):
    result = job.run("deploy", {"nodes": {"master-0": {}, "master-1": {"slow": 3}, "master-2": {"pod_after": 2}}})
    assert result.returncode == 0, result.stderr
    assert "waiting for master-1: not ready: the plugin has not answered yet" in result.stdout
    assert "waiting for master-2: no pod yet" in result.stdout and "waiting for master-0" not in result.stdout
    assert "command terminated" not in result.stdout


def test_deploy_names_the_cause_of_a_build_that_fails_on_a_node(job):
    result = job.run("deploy", {"nodes": {"master-0": {}, "master-1": {"build_fails": True}}}, KMS_DEPLOY_TIMEOUT="3m")
    assert result.returncode == 1
    assert "the build failed 3 times on master-1" in result.stderr
    failure = job.junit("deploy")["plugin on master-1"]
    for part in ("phase Pending", "build: builder: compile: cannot compile mock-kms-provider: provider/main.cc:1:21: error:", "supervisor status:", "Back-off restarting"):
        assert part in failure and part in result.stdout
    assert "waiting for master-1: its pod is Pending; the build says: builder: compile: cannot compile mock-kms-provider: provider/main.cc:1:21: error:" in result.stdout
    assert job.junit("deploy")["plugin on master-0"] == "passed"
    assert not (job.shared / "kms-plugin-socket-path").exists() and (job.shared / "kms-plugin-seed").exists()


def test_deploy_gives_up_on_a_plugin_that_never_becomes_healthy(job):
    result = job.run("deploy", {"nodes": {"master-0": {"never_healthy": True}}}, KMS_DEPLOY_TIMEOUT="1s")
    assert result.returncode == 1
    assert "1 of 1 nodes have no healthy plugin: not healthy within 1s" in result.stderr
    assert "seed file /etc/mock-kms/seed holds 3 bytes" in job.junit("deploy")["plugin on master-0"]


def test_deploy_refuses_a_node_with_another_key(job):
    result = job.run("deploy", {"nodes": {"master-0": {}, "master-1": {"other_seed": True}}}, KMS_DEPLOY_TIMEOUT="1s")
    assert result.returncode == 1
    assert "it does not decrypt what another node encrypted" in job.junit("deploy")["plugin on master-1"]
    assert "belongs to another seed" in result.stdout


def test_deploy_of_another_seed_is_not_held_up_by_what_the_old_pods_encrypted(job):
    result = job.run("deploy", {**HEALTHY, "seed": SEED, "reseeded": True, "rollout_after": 3}, KMS_SEED=SEED[::-1], KMS_DEPLOY_TIMEOUT="60s")
    assert result.returncode == 0, result.stdout
    assert "waiting for the rollout" in result.stdout and "belongs to another seed" not in result.stdout


def test_deploy_names_nodes_whose_key_versions_differ_once_the_rollout_is_done(job):
    scenario = {"nodes": {"master-0": {}, "master-1": {"key_id": "default/v4/0a0b0c0d"}}, "rollout_after": 1}
    result = job.run("deploy", scenario, KMS_DEPLOY_TIMEOUT="20s")
    assert result.returncode == 1
    assert "1 of 2 nodes have no healthy plugin: the nodes serve different keys" in result.stderr
    assert "its key is default/v4/0a0b0c0d, and that of another node default/v1/e23984db" in job.junit("deploy")["plugin on master-1"]
    assert "waiting for the rollout: 1 of 2 pods are new" in result.stdout and job.junit("deploy")["plugin on master-0"] == "passed"


def test_deploy_does_not_count_the_failures_of_a_build_that_succeeded_since(job):
    result = job.run("deploy", {"nodes": {"master-0": {"rebuilt": 9, "slow": 3}}}, KMS_DEPLOY_TIMEOUT="60s")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("step", ["deploy", "verify"])
def test_a_warning_beside_the_plaintext_spoils_no_round_trip(job, step):
    warning = "warning mock-kms-provider: unknown environment variable MOCK_KMS_X has no effect"
    result = job.run(step, {**DONE, "warning": warning}, KMS_DEPLOY_TIMEOUT="10s")
    assert result.returncode == 0, result.stdout


def test_deploy_finds_nodes_with_the_old_label_alone(job):
    result = job.run("deploy", {"nodes": {"old": {"roles": ["master"]}, "new": {"roles": ["control-plane"]}, "worker": {"roles": []}}})
    assert result.returncode == 0
    assert job.junit("deploy").keys() == {"plugin on old", "plugin on new"}


def test_deploy_waits_for_the_rollout_and_ignores_pods_that_are_being_deleted(job):
    result = job.run("deploy", {"nodes": {"master-0": {"old_pod": True}, "master-1": {}}, "rollout_after": 2})
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("waiting for the rollout: 1 of 2 pods are new") == 2
    assert not job.called("exec -i mock-kms-plugin-old")


@pytest.mark.parametrize("step", ["deploy", "verify"])
def test_a_step_checks_only_the_pods_of_its_instance(job, step):
    result = job.run(step, {**DONE, "nodes": {"master-0": {"second": True}}})
    assert result.returncode == 0, result.stderr
    assert job.called("exec -i mock-kms-plugin-master-0") and not job.called("exec -i mock-kms-plugin-second-master-0")


def test_deploy_names_the_lack_of_a_node_and_of_an_answer(job):
    assert job.run("deploy", {"nodes": {"worker": {"roles": []}}}).returncode == 1
    assert "no node has the label node-role.kubernetes.io/control-plane" in job.junit("deploy")["kms-mock-plugin-deploy"]
    assert job.run("deploy", {**HEALTHY, "nodes_silent": True}, KMS_DEPLOY_TIMEOUT="1s").returncode == 1
    assert "cannot list the nodes" in job.junit("deploy")["kms-mock-plugin-deploy"]


def test_deploy_names_a_rollout_that_does_not_end(job):
    result = job.run("deploy", {**HEALTHY, "rollout_after": 1000}, KMS_DEPLOY_TIMEOUT="0")
    assert result.returncode == 1
    message = "the rollout is not done within 0: 2 of 3 pods are new; see 'oc describe daemonset -n kms-plugin-test mock-kms-plugin'"
    assert message in result.stderr and message in job.junit("deploy")["kms-mock-plugin-deploy"]


def test_deploy_waits_until_a_namespace_that_is_being_removed_is_gone(job):
    result = job.run("deploy", {**HEALTHY, "terminating": 3})
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("waiting until namespace kms-plugin-test is removed (since 2026-01-01T00:00:00Z)") == 3
    removed = max(i for i, call in enumerate(job.calls) if "deletionTimestamp}" in call and "get namespace" in call and i < job.calls.index(job.called("apply")[0]))
    assert removed < job.calls.index(job.called("apply")[0])


def test_deploy_applies_nothing_to_a_namespace_that_stays_in_removal(job):
    result = job.run("deploy", {**HEALTHY, "terminating": 1000000}, KMS_DEPLOY_TIMEOUT="1s")
    assert result.returncode == 1 and not job.called("apply")
    assert "namespace kms-plugin-test is still being removed after 1s" in result.stderr


@pytest.mark.parametrize("roles,kept", [(["control-plane", "master"], False), (["control-plane"], False), (["master"], True)])
def test_deploy_selects_the_old_label_only_if_a_node_has_no_newer_one(job, roles, kept):
    assert job.run("deploy", {"nodes": {"master-0": {"roles": roles}}}).returncode == 0
    spec = next(d for d in job.applied() if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    keys = [term["matchExpressions"][0]["key"].rpartition("/")[2] for term in terms]
    assert keys == ["control-plane", *(["master"] if kept else [])]


def test_deploy_names_the_kubelets_reason_before_the_build(job):
    waiting = 'build-plugin: ErrImagePull: rpc error: image "registry.test/x:1" not found\nsupervisor: PodInitializing: \n'
    result = job.run("deploy", {"nodes": {"master-0": {"waiting": waiting}}}, KMS_DEPLOY_TIMEOUT="1s")
    assert result.returncode == 1
    assert 'waiting for master-0: its pod is Pending; build-plugin: ErrImagePull: rpc error: image "registry.test/x:1" not found' in result.stdout


def test_deploy_with_a_fault_asks_for_no_more_than_an_answer(job):
    unhealthy = {"nodes": {"master-0": {"unhealthy": True}}}
    result = job.run("deploy", unhealthy, KMS_DEPLOY_TIMEOUT="0")
    assert result.returncode == 1 and "healthz is 'key disabled' instead of ok" in result.stdout
    result = job.run("deploy", unhealthy, KMS_FAULT="unhealthy")
    assert result.returncode == 0, result.stderr
    assert "the plugin answers on 1 nodes" in result.stdout and not job.called("encrypt")


def test_deploy_says_in_its_junit_that_the_manifests_were_refused(job):
    result = job.run("deploy", {**HEALTHY, "apply_code": 1})
    assert result.returncode == 1
    assert "cannot apply the manifests" in job.junit("deploy")["kms-mock-plugin-deploy"]


def test_a_step_reads_the_proxy_of_the_job(job):
    (job.shared / "proxy-conf.sh").write_text(f"touch() {{ :; }}; echo sourced > {job.directory}/proxy\n")
    job.run("deploy", HEALTHY)
    assert (job.directory / "proxy").exists()


def test_deploy_binds_the_scc_only_on_openshift(job):
    result = job.run("deploy", {**HEALTHY, "openshift": False})
    assert result.returncode == 0, result.stderr
    assert "RoleBinding" not in {d["kind"] for d in job.applied()}


# --- configure


def test_configure_patches_the_apiserver_of_openshift_and_waits_with_progress(job):
    result = job.run("configure", {**HEALTHY, "migration": ["", "EncryptionInProgress", "EncryptionCompleted"]})
    assert result.returncode == 0, result.stderr
    assert job.called('patch apiserver cluster --type=merge -p {"spec":{"encryption":{"type":"KMS"}}}')
    assert "kubeapiserver: EncryptionInProgress: for kubeapiserver" in result.stdout
    assert job.junit("configure") == {"encryption of all resources": "passed"}


def test_configure_has_no_patch_for_openshift_of_its_own(job):
    result = job.run("configure", {**HEALTHY, "migration": ["EncryptionCompleted"]}, KMS_ENCRYPTION_PATCH="")
    assert result.returncode == 2 and not job.called("patch")
    assert "set KMS_MODE=operator and KMS_PLUGIN_SIDECAR_IMAGE, or KMS_ENCRYPTION_PATCH" in result.stderr


def test_configure_gives_up_at_its_deadline_and_says_how_far_it_came(job):
    result = job.run("configure", {**HEALTHY, "migration": ["EncryptionInProgress"]}, KMS_MIGRATION_TIMEOUT="1s")
    assert result.returncode == 1
    assert "encryption is not complete within 1s: openshiftapiserver: EncryptionInProgress" in result.stderr


def test_configure_writes_a_file_elsewhere_with_kms_v2_first_and_identity_last(job):
    result = job.run("configure", {**HEALTHY, "openshift": False}, KMS_RESOURCES="secrets,configmaps")
    assert result.returncode == 0, result.stderr
    (rule,) = yaml.safe_load((job.shared / "kms-encryption-configuration.yaml").read_text())["resources"]
    assert rule["resources"] == ["secrets", "configmaps"]
    assert rule["providers"] == [
        {"kms": {"apiVersion": "v2", "name": "mock-kms", "endpoint": "unix:///var/run/kmsplugin/kms.sock", "timeout": "3s"}}, {"identity": {}}]
    assert "KMS_MIGRATE is not true" in job.junit("configure")["rewrite of secrets,configmaps"]
    assert not job.called("replace")


def test_configure_rewrites_stored_objects_if_it_may_and_tries_conflicts_again(job):
    result = job.run("configure", {**HEALTHY, "openshift": False, "conflicts": 2}, KMS_MIGRATE="true")
    assert result.returncode == 0, result.stderr
    assert "rewritten: 2 of 2 namespaces" in result.stdout
    assert len(job.called("replace")) == 4


def test_configure_says_that_the_apiserver_refuses_the_patch(job):
    result = job.run("configure", {**HEALTHY, "patch_code": 1})
    assert result.returncode == 1
    assert "apiserver/cluster refuses the patch" in job.junit("configure")["kms-mock-plugin-configure"]
    assert "kms config is required when encryption type is KMS" in result.stderr


def test_configure_tries_to_rewrite_until_the_deadline_and_no_longer(job):
    # More tries than the five after which it once gave up, and each namespace looks at the time.
    assert job.run("configure", {**HEALTHY, "openshift": False, "conflicts": 8}, KMS_MIGRATE="true").returncode == 0
    result = job.run("configure", {**HEALTHY, "openshift": False, "conflicts": 1000000}, KMS_MIGRATE="true", KMS_MIGRATION_TIMEOUT="5s")
    assert result.returncode == 1
    failure = job.junit("configure")["rewrite of secrets"]
    assert "secrets in namespace default cannot be rewritten (0 of 2 namespaces are done): Error from server (Conflict)" in failure
    result = job.run("configure", {**HEALTHY, "openshift": False}, KMS_MIGRATE="true", KMS_MIGRATION_TIMEOUT="0")
    assert result.returncode == 1 and "(0 of 2 namespaces are done): the time is up" in job.junit("configure")["rewrite of secrets"]


# --- verify


def test_verify_proves_the_nodes_and_the_bytes_in_etcd(job):
    result = job.run("verify", ENCRYPTED)
    assert result.returncode == 0, result.stderr
    assert set(job.junit("verify").values()) == {"passed"} and len(job.junit("verify")) == 4
    assert job.called("-n openshift-etcd exec etcd-master-0 -c etcdctl -- etcdctl get /kubernetes.io/secrets/kms-plugin-test/")
    assert job.called("inspect --encoding base64 --key /kubernetes.io/secrets/kms-plugin-test/kms-verify-")
    assert "stored under default/v1/e23984db" in result.stdout
    assert job.called("delete secret")


@pytest.mark.parametrize("scenario,finding", [
    ({"etcd": "k8s\x00\nv1\x12\x06Secret bytes"}, "it is not encrypted by KMS v2"),
    ({"etcd": "k8s:enc:aescbc:v1:1:bytes"}, "it is not encrypted by KMS v2"),
    ({"etcd": "k8s:enc:kms:v2:1_secrets:bytes", "other_kms": True}, "belongs to another seed"),
], ids=["plain", "another provider", "another key"])
def test_verify_fails_if_the_stored_secret_is_not_encrypted_by_this_plugin(job, scenario, finding):
    result = job.run("verify", {**HEALTHY, **scenario})
    assert result.returncode == 1
    assert finding in job.junit("verify")["a fresh Secret in etcd"]
    assert job.called("delete secret")


def test_verify_names_another_provider_if_the_name_is_known(job):
    result = job.run("verify", {**ENCRYPTED, "openshift": False})
    assert result.returncode == 1
    assert "a provider other than mock-kms: k8s:enc:kms:v2:1_secrets:" in job.junit("verify")["a fresh Secret in etcd"]
    assert job.run("verify", {**ENCRYPTED, "openshift": False}, KMS_PROVIDER_NAME="1_secrets").returncode == 0


def test_verify_reports_checks_that_it_could_not_make(job):
    result = job.run("verify", HEALTHY)
    assert result.returncode == 0
    assert "etcd of master-0 cannot be read" in job.junit("verify")["a fresh Secret in etcd"]


def test_verify_fails_for_an_unhealthy_node(job):
    result = job.run("verify", {**ENCRYPTED, "nodes": {"master-0": {}, "master-1": {"never_healthy": True}}})
    assert result.returncode == 1
    assert "NOT HEALTHY" in job.junit("verify")["plugin on master-1"] and job.junit("verify")["plugin on master-0"] == "passed"


# --- cleanup


def test_cleanup_keeps_the_evidence_of_every_node_before_it_removes_anything(job):
    result = job.run("cleanup", HEALTHY)
    assert result.returncode == 0, result.stderr
    kept = {str(path.relative_to(job.artifacts)) for path in job.artifacts.rglob("*") if path.is_file()}
    for i in range(3):
        assert {f"kms-mock-plugin/master-{i}/mock-kms-plugin-master-{i}/{name}" for name in
                ("status.json", "events.json", "journal.json", "counts.txt", "provider-metrics.txt", "supervisor-metrics.txt", "build-info.json",
                 "supervisor.log", "build-plugin.log")} <= kept
        for program, file in (("mock-kms-provider", "provider"), ("supervisor", "supervisor")):
            assert (job.artifacts / f"kms-mock-plugin/master-{i}/mock-kms-plugin-master-{i}/{file}-metrics.txt").read_text() == f"# HELP {program}\n"
    order = [i for i, call in enumerate(job.calls) if "delete namespace" in call or "journal" in call]
    assert "delete namespace" in job.calls[order[-1]]


def property_of(job, step):
    suite = xml.parse(job.artifacts / f"junit_kms-mock-plugin-{step}.xml").getroot()
    return {p.get("name"): p.get("value") for p in suite.findall("properties/property")}


def test_cleanup_makes_a_page_that_spyglass_shows_and_names_it_in_its_junit(job):
    """The real supervisor makes it in the pod, of a tar archive without the seed."""
    result = job.run("cleanup", {"nodes": {"master-0": {"old_release": True}, "master-1": {}}})
    assert result.returncode == 0, result.stderr
    assert property_of(job, "cleanup") == {"report": "kms-mock-plugin-summary.html"}
    assert re.fullmatch(r".*-summary.*\.html", "artifacts/job/kms-mock-plugin-cleanup/artifacts/kms-mock-plugin-summary.html")  # Prow's pattern
    page = (job.artifacts / "kms-mock-plugin-summary.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "master-0" in page and "master-1" in page
    calls = job.called("supervisor report")
    assert len(calls) == 2 and "mock-kms-plugin-master-1" in calls[1], "the next pod is asked if one cannot"


def test_cleanup_says_how_to_make_the_page_if_no_supervisor_answers(job):
    result = job.run("cleanup", {"nodes": {"master-0": {"never_healthy": True}}})
    assert result.returncode == 0 and "supervisor report kms-mock-plugin --output report.html" in result.stdout
    assert property_of(job, "cleanup") == {} and not (job.artifacts / "kms-mock-plugin-summary.html").exists()


def test_cleanup_keeps_what_each_of_two_instances_gives(job):
    assert job.run("cleanup", {"nodes": {"master-0": {"second": True}}}).returncode == 0
    assert len(list(job.artifacts.glob("kms-mock-plugin/master-0/*/status.json"))) == 2


def test_cleanup_keeps_no_credentials_of_the_repository(job):
    job.run("cleanup", {**HEALTHY, "repo": "https://user:a@secret@git.test/plugin.git"})
    assert (job.artifacts / "kms-mock-plugin/objects.yaml").read_text() == "kind: List\nvalue: https://***@git.test/plugin.git\n"


def test_cleanup_keeps_the_answers_of_an_unhealthy_node_and_names_the_missing_ones(job):
    result = job.run("cleanup", {"nodes": {"master-0": {"never_healthy": True}}})
    assert result.returncode == 0, result.stderr
    assert "incomplete: kms-mock-plugin/master-0/mock-kms-plugin-master-0/provider-metrics.txt" in result.stdout
    kept = job.artifacts / "kms-mock-plugin/master-0/mock-kms-plugin-master-0"
    assert "Connection refused" in (kept / "provider-metrics.txt").read_text()
    assert (kept / "supervisor-metrics.txt").read_text() == "# HELP supervisor\n" and (kept / "build-info.json").exists()


def test_cleanup_succeeds_if_everything_is_gone(job):
    assert job.run("cleanup", {**HEALTHY, "namespace": "gone"}).returncode == 0
    assert job.run("cleanup", {"nodes": {}}).returncode == 0


def test_cleanup_names_the_cause_of_a_half_deleted_namespace(job):
    result = job.run("cleanup", {**HEALTHY, "namespace": "stuck"}, KMS_CLEANUP_TIMEOUT="7s")
    assert result.returncode == 1
    assert "not gone within 7s: Some resources are remaining: pods" in result.stderr
    assert job.called("--timeout=7s")


def test_cleanup_decrypts_first_when_it_is_asked_to(job):
    result = job.run("cleanup", {**HEALTHY, "encryption": "KMS", "migration": ["DecryptionInProgress", "DecryptionCompleted"]}, KMS_DECRYPT_FIRST="true")
    assert result.returncode == 0, result.stderr
    patched = next(i for i, call in enumerate(job.calls) if '"type":"identity"' in call)
    removed = next(i for i, call in enumerate(job.calls) if "delete namespace" in call)
    assert patched < removed


@pytest.mark.parametrize("scenario", [
    {"migration": ["EncryptionDisabled"]}, {"encryption": "KMS", "kms_config": True, "migration": ["DecryptionCompleted"]}],
    ids=["never encrypted", "a KMS configuration that is forbidden without the type"])
def test_cleanup_decrypts_first_whatever_was_configured(job, scenario):
    result = job.run("cleanup", {**HEALTHY, **scenario}, KMS_DECRYPT_FIRST="true", KMS_MIGRATION_TIMEOUT="5s")
    assert result.returncode == 0, result.stderr
    assert job.junit("cleanup")["decryption"] == "passed" and job.called("delete namespace")


def test_cleanup_names_the_refusal_of_its_patch(job):
    result = job.run("cleanup", {**HEALTHY, "encryption": "KMS", "patch_code": 1}, KMS_DECRYPT_FIRST="true")
    assert result.returncode == 1 and not job.called("delete namespace")
    assert "apiserver/cluster refuses the patch: The APIServer \"cluster\" is invalid" in job.junit("cleanup")["decryption"]


NOT_OPENSHIFT = {"nodes": {"master-0": {}}, "openshift": False}  # one API server a node, unless `servers` names them


def test_cleanup_decrypts_first_elsewhere_by_writing_everything_again(job):
    result = job.run("cleanup", {**NOT_OPENSHIFT, "conflicts": 1}, KMS_DECRYPT_FIRST="true")
    assert result.returncode == 0, result.stderr
    assert len(job.called("replace")) == 5 and not job.called("patch")  # two namespaces, a conflict, and the check
    assert job.junit("cleanup")["decryption"] == "passed"


PLAIN_ETCD = {"/registry/secrets/default/a": "k8s\0\nv1 Secret", "/registry/configmaps/default/b": "k8s plain"}


@pytest.mark.parametrize("scenario,finding", [
    ({"kms_writes": {"192.0.2.1": ["secrets"]}}, "API server 192.0.2.1:6443 wrote 2 secrets under KMS after the decryption; put identity first"),
    ({"kms_reads": {"192.0.2.1": ["secrets"]}}, "API server 192.0.2.1:6443 read 2 secrets under KMS after the decryption; put identity first"),
    ({"servers": ["192.0.2.1", "192.0.2.2"], "kms_writes": {"192.0.2.2": ["secrets"]}}, "API server 192.0.2.2:6443 wrote 4 secrets under KMS"),
    ({"servers": ["192.0.2.1", "192.0.2.2"], "silent_servers": ["192.0.2.2"]}, "the metrics of API server 192.0.2.2:6443 cannot be read"),
    ({"silent_servers": ["192.0.2.1"]}, "the metrics of API server 192.0.2.1:6443 cannot be read; give the job access"),
    ({"encrypts": 1}, "an API server called Encrypt of mock-kms-plugin-master-0 during the decryption"),
    ({"also_encrypted": ["configmaps"]}, "the API servers still read configmaps under KMS; put identity first for them in the EncryptionConfiguration of every API server, and name them in KMS_RESOURCES"),
    ({"unreadable": True}, "not every object can be read, so some may be under KMS: Error from server (InternalError)"),
    ({"nodes": {"master-0": {}, "master-1": {}}, "servers": ["192.0.2.1"]}, "there are 2 control-plane nodes, but 1 API server(s) in the endpoints of service default/kubernetes"),
    ({"etcd_values": {**PLAIN_ETCD, "/registry/configmaps/default/c": "k8s:enc:kms:v2:mock-kms:\x0a"}}, "etcd still has values under KMS (1 configmaps)"),
], ids=["still written", "still stored and not written", "by one of two servers", "one server silent", "no metrics", "journal", "another resource", "a resource that cannot be read", "fewer API servers than nodes", "left in etcd"])
def test_cleanup_removes_nothing_without_a_proof_that_everything_is_decrypted(job, scenario, finding):
    result = job.run("cleanup", {**NOT_OPENSHIFT, **scenario}, KMS_DECRYPT_FIRST="true")
    assert result.returncode == 1 and not job.called("delete")
    assert finding in result.stderr and finding in job.junit("cleanup")["decryption"]
    assert "Nothing was removed" in result.stderr


@pytest.mark.parametrize("scenario", [{"etcd_values": PLAIN_ETCD}, {"etcd_values": PLAIN_ETCD, "also_encrypted": ["configmaps"]}, {"servers": ["192.0.2.1", "2001:db8::1"]}, {"unused": True},
                                      {"kms_reads": {"192.0.2.1": ["secrets"]}, "reads_end": 3}],
                         ids=["etcd", "a resource that was encrypted once", "two servers", "never encrypted", "a late read"])
def test_cleanup_removes_the_plugin_with_a_proof(job, scenario):
    result = job.run("cleanup", {**NOT_OPENSHIFT, **scenario}, KMS_DECRYPT_FIRST="true")
    assert result.returncode == 0, result.stderr
    assert job.junit("cleanup")["decryption"] == "passed" and job.called("delete namespace")


def test_cleanup_on_openshift_trusts_etcd_more_than_the_operators(job):
    values = {"/kubernetes.io/secrets/default/a": "k8s:enc:kms:v2:1_secrets:\x0a"}
    result = job.run("cleanup", {**HEALTHY, "etcd_values": values, "migration": ["DecryptionCompleted"]}, KMS_DECRYPT_FIRST="true")
    assert result.returncode == 1 and not job.called("delete")
    assert "etcd still has values under KMS (1 secrets)" in result.stderr


@pytest.mark.parametrize("scenario,warning", [
    ({"etcd_values": {"/registry/secrets/default/a": "k8s:enc:kms:v2:mock-kms:\x0a"}}, "WARNING: etcd has values under KMS"),
    ({}, "WARNING: kube-apiserver has read or written objects under KMS"),
    ({"silent_servers": ["192.0.2.1"]}, "WARNING: the plugin may be in use"),
    ({"unused": True}, None), ({"etcd_values": {"/registry/secrets/default/a": "k8s plain"}}, None)],
    ids=["etcd", "metrics", "unknown", "unused", "plain etcd"])
def test_cleanup_of_a_plugin_in_use_warns_with_the_recovery(job, scenario, warning):
    result = job.run("cleanup", {**NOT_OPENSHIFT, **scenario})
    assert result.returncode == 0, result.stderr
    if warning:
        assert warning in result.stdout and "run the deploy step with the same seed; it is kept as mock-kms.test/seed in" in result.stdout
    else:
        assert "WARNING" not in result.stdout


def test_cleanup_leaves_the_plugin_if_decryption_fails(job):
    result = job.run("cleanup", {**HEALTHY, "encryption": "KMS", "migration": ["DecryptionInProgress"]}, KMS_DECRYPT_FIRST="true", KMS_MIGRATION_TIMEOUT="1s")
    assert result.returncode == 1
    assert "Nothing was removed" in result.stderr and not job.called("delete namespace")


def test_cleanup_warns_if_encryption_is_still_on(job):
    result = job.run("cleanup", {**HEALTHY, "encryption": "KMS"})
    assert result.returncode == 0 and "encryption is still on" in result.stdout


def test_every_variable_is_in_the_documentation_with_its_default():
    rows = dict(re.findall(r"(?m)^\| `(KMS_\w+)` \| [^|]+ \| ([^|]*) \|", (ROOT / "docs/openshift-ci.md").read_text()))
    documented = {name: cell.strip().strip("`") for name, cell in rows.items()}
    assert documented == {name: default for step in STEPS for name, default in defaults(step).items()}
