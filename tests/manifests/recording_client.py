#!/usr/bin/python3 -IS
"""Stands for `oc` or `kubectl` in the tests of the steps: records every call and plays a cluster.

SCENARIO names a JSON file: {"nodes": {name: {...}}, ...}, see the tests. CALLS names the file that gets one line a call;
what was applied or piped in goes to the directory of CALLS. Time is counted in calls: a node that is `slow` is healthy from the
n-th time on that it is asked. A call that it does not know is an error, so that a step cannot do what no test has seen.
"""

import base64
import json
import os
import pathlib
import sys

SCENARIO = json.loads(pathlib.Path(os.environ["SCENARIO"]).read_text())
CALLS = pathlib.Path(os.environ["CALLS"])
NODES = SCENARIO["nodes"]
OPENSHIFT = SCENARIO.get("openshift", True)
SERVERS = SCENARIO.get("servers", [f"192.0.2.{number}" for number in range(1, max(len(NODES), 1) + 1)])
GONE = SCENARIO.get("namespace") == "gone"
TRANSIENT = ("Error from server: etcdserver: leader changed", "Unable to connect to the server: net/http: TLS handshake timeout",
             "Error from server (Timeout): the server was unable to return a response in the time allotted, but may still be processing the request",
             "The connection to the server localhost:6443 was refused - did you specify the right host or port?",
             "Unable to connect to the server: EOF", "Error from server (TooManyRequests): the server has received too many requests")
CAUSE = ("builder: compile: cannot compile mock-kms-provider: provider/main.cc:1:21: error: 'undeclared' was not declared in this scope; "
         "the lines above are the tool's own; fix the source, or give another --ref")
words = sys.argv[1:]
line = " ".join(words)
before = CALLS.read_text().splitlines() if CALLS.exists() else []
with CALLS.open("a") as calls:
    calls.write(line.replace("\n", "\\n") + "\n")


def answer(text="", code=0, error=""):
    sys.stdout.write(text)
    sys.stdout.flush()
    sys.stderr.write(error + "\n" if error else "")
    sys.exit(code)


if SCENARIO.get("flaky") and line.replace("\n", "\\n") not in before:
    # Each call fails when it is made for the first time.
    answer("half of an ans", 1, TRANSIENT[len(before) % len(TRANSIENT)])


def not_found(what):
    answer(code=1, error=f"Error from server (NotFound): {what} not found")


def times(part):
    """The number of earlier calls with this part."""
    return sum(part in call for call in before)


def has(*parts):
    return all(part in words for part in parts)


def node_of(pod):
    return pod.removeprefix("mock-kms-plugin-").removeprefix("second-")


def status(node):
    """(exit code, text) of `supervisor status`."""
    facts = NODES[node]
    if facts.get("never_healthy"):
        return 1, ("NOT HEALTHY, backing off since 2026-01-01T00:00:00Z (1.0 s ago)\n"
                   "  reason     the plugin exited with code 2: it ended by itself; its last lines may say why\n"
                   "             | mock-kms-provider: seed file /etc/mock-kms/seed holds 3 bytes")
    if times(f"mock-kms-plugin-{node} -c supervisor -- supervisor status --ready") < facts.get("slow", 0):
        return 1, "not ready: the plugin has not answered yet"
    if facts.get("unhealthy") and not has("--ready"):
        return 1, ("NOT HEALTHY, serving since 2026-01-01T00:00:00Z (1.0 s ago)\n"
                   "  reason     the plugin answers, but healthz is 'key disabled' instead of ok")
    return 0, ("healthy, serving since 2026-01-01T00:00:00Z (1.0 s ago)\n"
               f"  kms        version v2, healthz ok, key_id {facts.get('key_id', 'default/v1/e23984db')}")


def key():
    """The key that all pods encrypt under: at first the old seed if the scenario is `reseeded`."""
    return "old" if SCENARIO.get("reseeded") and times("updatedNumberScheduled") < 2 else "new"


def answer_of_program(text="", code=0, error=""):
    """The output of exec: the client adds a last line if a program fails."""
    answer(text, code, "\n".join(filter(None, (error, f"command terminated with exit code {code}" if code else ""))))


def run_in_pod(pod, command):
    node = node_of(pod)
    if command[0] == "env":  # in a sidecar of an API server, whose socket has its number
        container = words[words.index("-c") + 1]
        assert command[1] == f"MOCK_KMS_SOCKET=unix:///var/run/kmsplugin/kms-{container[-1]}.sock", command
        node, command = "master-" + pod.rpartition("master-")[2], command[2:]
    if GONE or node not in NODES:
        not_found(f'pods "{pod}"')
    if NODES[node].get("build_fails"):
        answer(code=1, error='error: unable to upgrade connection: container not found ("supervisor")')
    if command[:2] == ["supervisor", "status"]:
        code, text = status(node)
        if has("--ready"):
            text = "ready: pid 16" if code == 0 else text.splitlines()[0]
        answer_of_program(text + "\n", code)
    if command == ["mock-kms-provider", "encrypt"]:
        answer_of_program(json.dumps({"ciphertext": base64.b64encode(sys.stdin.buffer.read()).decode(), "key": key()}) + "\n")
    if command == ["mock-kms-provider", "decrypt"]:
        sealed = json.load(sys.stdin)
        if NODES[node].get("other_seed") or sealed["key"] != key():
            answer_of_program(code=1, error="mock-kms-provider: Decrypt: NOT_FOUND: key_id default/v1/e23984db belongs to another seed")
        answer_of_program(base64.b64decode(sealed["ciphertext"]).decode(), error=SCENARIO.get("warning", ""))
    if command[:2] == ["mock-kms-provider", "inspect"]:
        value = base64.b64decode(sys.stdin.read())
        if SCENARIO["etcd"].encode("latin-1") != value:
            answer_of_program(code=2, error="mock-kms-provider: the value is damaged")
        if SCENARIO.get("other_kms"):
            answer_of_program(code=1, error="mock-kms-provider: this seed does not decrypt the DEK source: key_id default/v1/00000000 belongs to another seed")
        answer_of_program(f"etcd key     {command[-1]}\nprovider     mock-kms\nkey_id       default/v1/e23984db\n")
    if command == ["/plugin/mock-kms-provider", "--version"]:
        answer_of_program("mock-kms-provider 0.1.0\n")
    if command == ["mock-kms-provider", "journal", "--counts"]:
        calls = 3 + SCENARIO.get("encrypts", 0) * times("replace -f -")
        answer_of_program(f"METHOD  CODE                    CALLS   FAULTED\nStatus  OK  9  0\nEncrypt OK  {calls}  0\n")
    if command == ["cat", "/plugin/build-info.json"]:
        answer_of_program('{\n  "commit": "' + "c" * 40 + '",\n  "target": "' + SCENARIO.get("plugin", "mock-kms-provider") + '"\n}\n')
    if command[:2] in (["mock-kms-provider", "journal"], ["supervisor", "events"]) or command[0] == "cat":
        answer_of_program("{}\n")
    if command[:2] == ["supervisor", "report"]:
        if NODES[node].get("never_healthy") or NODES[node].get("old_release"):
            answer_of_program(code=2, error="supervisor: unexpected argument 'report'")
        os.execv(os.environ["SUPERVISOR"], command)
    if command[1:] == ["metrics"]:
        if NODES[node].get("never_healthy") and command[0] == "mock-kms-provider":
            answer_of_program(code=3, error="mock-kms-provider: cannot connect to unix:///var/run/kmsplugin/kms.sock: Connection refused")
        answer_of_program(f"# HELP {command[0]}\n")


def resources():
    if has("get", "daemonset") and "updatedNumberScheduled" in line:
        new = len(NODES) if times("updatedNumberScheduled") >= SCENARIO.get("rollout_after", 0) else len(NODES) - 1
        answer(f"2 2 {len(NODES)} {new}")
    if has("get", "daemonset"):
        answer(SCENARIO.get("seed", ""))
    if has("get", "nodes"):
        if SCENARIO.get("nodes_silent") and "control-plane" in line:
            answer(code=1, error="Unable to connect to the server: net/http: TLS handshake timeout")
        selector = words[words.index("-l") + 1]
        if "!" in selector:
            answer(" ".join(name for name, facts in NODES.items() if facts.get("roles") == ["master"]))
        label = selector.rpartition("/")[2]
        answer("".join(f"{name}\n" for name, facts in NODES.items() if label in facts.get("roles", ["control-plane", "master"])))
    if has("get", "pods", "-l", "apiserver=true"):
        pods = SCENARIO.get("sidecars", {}).get(words[words.index("-n") + 1], {})
        answer("".join(f"{pod}//{' '.join(names)} \n" for pod, names in pods.items()) + "going/2026-01-01T00:00:00Z/vault-kms-plugin-1 \n")
    if has("get", "secret"):
        owner = SCENARIO.get("approle_owner")
        if owner is None and not times("apply -f -"):
            not_found('secrets "mock-kms-approle"')
        answer(f"mock-kms-approle:{owner if owner is not None else 'mock-kms-plugin'}")
    if has("get", "pods", "-l"):
        made = [] if GONE else [name for name, facts in NODES.items() if times("get pods -l") >= facts.get("pod_after", 0)]
        going = "".join(f"mock-kms-plugin-old {name} Running 2026-01-01T00:00:00Z\n" for name in made if NODES[name].get("old_pod"))
        if "app.kubernetes.io/instance=mock-kms-plugin" not in line:
            going = "".join(f"mock-kms-plugin-second-{name} {name} Running \n" for name in made if NODES[name].get("second")) + going
        answer(going + "".join(f"mock-kms-plugin-{name} {name} {'Pending' if NODES[name].get('build_fails') or NODES[name].get('waiting') else 'Running'} \n" for name in made))
    if has("get", "pod"):
        node = node_of(words[words.index("pod") + 1])
        fails = NODES[node].get("build_fails")
        if "waiting.message" in line:
            answer(NODES[node].get("waiting", "build-plugin: : \nsupervisor: PodInitializing: \n"))
        if "restartCount" in line:
            tries = times(f"get pod mock-kms-plugin-{node} -o jsonpath={{range .status.initContainerStatuses[?")
            state = f"{tries}/CrashLoopBackOff/" if fails else f"{NODES[node].get('rebuilt', 0)}//0"
            answer(state if "exitCode" in line else state.partition("/")[0])
        answer("Pending" if fails else "Running")
    if has("get", "events"):
        answer("LAST SEEN   TYPE      REASON    OBJECT   MESSAGE\n1s          Warning   BackOff   pod      Back-off restarting failed container\n")
    if has("get", "apiserver"):
        answer(SCENARIO.get("encryption", ""))
    if has("get", "cluster") and words[1].removesuffix(".operator.openshift.io") in ("openshiftapiserver", "kubeapiserver", "authentication"):
        if words[1] == "authentication":
            answer()  # config.openshift.io's, which knows nothing of encryption
        reason = SCENARIO["migration"][min(times(f"get {words[1]} cluster"), len(SCENARIO["migration"]) - 1)]
        answer(f"{reason}: for {words[1]}")
    if has("get", "namespaces"):
        answer("default\nkms-plugin-test\n")
    if has("get", "namespace") and "deletionTimestamp" in line:
        answer("2026-01-01T00:00:00Z" if times("deletionTimestamp}") - times("get pods -l") < SCENARIO.get("terminating", 0) else "")
    if has("get", "endpointslices"):
        answer("".join(f"{address} " for address in SERVERS) + "6443\n")
    if has("get", "namespace"):
        answer("Some resources are remaining: pods. has 1 resource instances; ")
    if has("get", "--all-namespaces"):
        assert words[1] == "configmaps,leases,secrets", words
        if SCENARIO.get("unreadable"):
            answer("---\napiVersion: v1\n", 1, "Error from server (InternalError): Internal error occurred: no matching prefix found")
        answer("---\napiVersion: v1\n")
    if has("get", "-f", "-"):
        assert sys.stdin.read() == "---\napiVersion: v1\n"
        answer("secret/a\n")
    if has("get", "secrets"):
        answer('{"kind": "List", "items": []}')
    if has("get", "-o", "yaml"):
        answer(f"kind: List\nvalue: {SCENARIO.get('repo', '')}\n")


def changes():
    if has("apply", "-f", "-"):
        with (CALLS.parent / "applied.yaml").open("a") as applied:
            applied.write(sys.stdin.read() + "\n---\n")
        answer("applied\n", SCENARIO.get("apply_code", 0))
    if has("patch", "apiserver", "cluster"):
        # Its rule: kms where the type is KMS (and, by feature gate, asks for it), and nowhere else.
        if SCENARIO.get("patch_code") or "--type=json" not in words and SCENARIO.get("kms_config") and '"KMS"' not in line and '"kms":null' not in line:
            answer(code=1, error='The APIServer "cluster" is invalid: spec.encryption: Invalid value: "object": '
                                 "kms config is required when encryption type is KMS, and forbidden otherwise")
        answer("apiserver.config.openshift.io/cluster patched\n")
    if has("replace", "-f", "-"):
        sys.stdin.read()
        conflict = times("replace -f -") < SCENARIO.get("conflicts", 0)
        answer(code=int(conflict), error="Error from server (Conflict): the object has been modified" if conflict else "")
    if has("create", "secret") or has("create", "configmap"):
        answer("created\n")
    if has("delete", "namespace"):
        answer(code=1 if SCENARIO.get("namespace") == "stuck" else 0, error="error: timed out waiting for the condition" if SCENARIO.get("namespace") == "stuck" else "")
    if has("delete"):
        answer()


def etcd():
    stored = SCENARIO.get("etcd")
    if has("--prefix"):
        if "etcd_values" not in SCENARIO:
            not_found('pods "etcd"')
        text = "".join(f"{key}\n{value}\n" for key, value in SCENARIO["etcd_values"].items() if key.startswith(words[words.index("get") + 1]))
        answer(text if times("replace -f -") else text.replace("k8s\0", "k8s:enc:kms:v2:mock-kms:"))
    if stored is None:
        not_found('pods "etcd"')
    answer(json.dumps({"kvs": [{"key": "aw==", "value": base64.b64encode(stored.encode("latin-1")).decode()}], "count": 1}, separators=(",", ":")) + "\n")


def metrics():
    """The metrics of one API server. `kms_writes` names the resources that it still writes under KMS, `kms_reads` those that it finds stored so and
    does not write, because nothing changes; after `reads_end` rewrites it finds none any more."""
    server = words[words.index("--server") + 1].removeprefix("https://").partition(":")[0] if has("--server") else SERVERS[0]
    if server in SCENARIO.get("silent_servers", []):
        answer(code=1, error='Error from server (Forbidden): forbidden: User "job" cannot get path "/metrics"')
    counts = {("secrets", "to_storage"): 40, ("secrets", "from_storage"): 7}
    for resource in SCENARIO.get("kms_writes", {}).get(server, []):
        counts[resource, "to_storage"] = counts.get((resource, "to_storage"), 0) + times("replace -f -")
    for resource in SCENARIO.get("kms_reads", {}).get(server, []):
        counts[resource, "from_storage"] = counts.get((resource, "from_storage"), 0) + min(times("replace -f -"), SCENARIO.get("reads_end", 1000))
    for resource in SCENARIO.get("also_encrypted", []):
        counts[resource, "from_storage"] = 3 + times("get --ignore-not-found -o name -f -")  # objects that were read by name
    counts["", "from_storage"] = 9 + times("get --raw /metrics")  # what the server reads for its caches
    if SCENARIO.get("unused"):
        counts = {}
    name = "apiserver_storage_transformation_operations_total"
    prefix = 'status="OK",transformation_type="{}",transformer_prefix="k8s:enc:kms:v2:mock-kms:"'
    answer("apiserver_request_total 1\n" + f'{name}{{resource="secrets",status="OK",transformation_type="to_storage",transformer_prefix=""}} 5\n'
           + "".join(f'{name}{{resource="{resource}",{prefix.format(direction)}}} {count}\n' for (resource, direction), count in counts.items()))


if has("get", "--raw", "/metrics"):
    metrics()
if has("api-resources", "--verbs=list,get", "-o", "name"):
    answer("configmaps\nleases\nsecrets\n")
if has("get", "--raw", "/apis"):
    silent = times("get --raw /apis") < SCENARIO.get("silent", 0)
    groups = ["apps", *(["config.openshift.io"] if OPENSHIFT else [])]
    answer(json.dumps({"kind": "APIGroupList", "groups": [{"name": name} for name in groups]}) + "\n") if not silent else answer(code=1, error="The connection to the server localhost:8080 was refused - did you specify the right host or port?")
if has("exec") and "etcdctl" in words:
    etcd()
if has("explain"):
    fields = SCENARIO.get("vault_fields")
    if fields is None:
        answer(code=1, error='error: field "kms" does not exist')
    answer("GROUP:      config.openshift.io\nKIND:       APIServer\nFIELD: vault <Object>\n\nFIELDS:\n" + "".join(f"  {name}\t<string> -required-\n    text\n" for name in fields))
if has("exec", "env", "--") or has("exec", "supervisor", "--"):
    run_in_pod(words[words.index("-i") + 1], words[words.index("--") + 1:])
if has("logs"):
    log_node = node_of(words[words.index("logs") + 1])
    if has("build-plugin") and NODES[log_node].get("build_fails"):
        answer(f"provider/main.cc:1:21: error: 'undeclared' was not declared in this scope\n{CAUSE}\n")
    answer(code=1, error="previous terminated container not found") if has("--previous") else answer('2026-01-01T00:00:00.000Z info    builder: phase done phase=publish duration="44.3 ms"\n')
resources()
changes()
answer(code=97, error=f"recording client: no test has seen this call: {line}")
