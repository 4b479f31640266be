"""A kubelet with containerd, joined to a ControlPlane, and an image of this build's programs.

It needs the namespaces that tests/cluster/in_namespaces.py makes: the paths on the host are those of a real node, on file systems of the
test. The test's own thread uses it.
"""

import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile

from support.control_plane import ADDRESS, asset, until
from support.processes import Program, binary

PROGRAMS = ["kubelet", "kube-controller-manager", "kube-scheduler"]  # of KUBEBUILDER_ASSETS
NODE = "node1"
IMAGE, PAUSE, ETCD = "localhost/mock-kms-plugin-test:1", "localhost/pause:1", "localhost/etcd:1"
HOST_DIRECTORIES = ["/var/run/kmsplugin", "/var/lib/mock-kms-plugin", "/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/var/log/pods",
                    "/var/log/containers", "/etc/kubernetes"]
TOOLS = ["sh", "cat", "ls", "cp", "sha256sum", "tar", "sleep", "env", "date"]

# Publishes this build's provider as the image `builder` publishes what it compiles, which tests/containers has tests of.
BUILDER = """#!/bin/sh
set -e
echo "$(date -u +%FT%T.000Z) info    builder: phase start phase=publish" >&2
[ ! -e /var/lib/mock-kms-plugin/cache/fail ] || { echo "builder: compile: cannot compile mock-kms-provider: told to fail; remove the file" >&2; exit 1; }
cp /usr/libexec/mock-kms-plugin/mock-kms-provider /plugin/mock-kms-provider
set -- $(sha256sum /plugin/mock-kms-provider)
echo "{\\"commit\\": \\"0000000000000000000000000000000000000000\\", \\"target\\": \\"mock-kms-provider\\", \\"binary\\": {\\"sha256\\": \\"$1\\"}}" > /plugin/build-info.json
echo "$(date -u +%FT%T.000Z) info    builder: phase done phase=publish" >&2
"""


def find_program(name):
    """In KUBEBUILDER_ASSETS or in PATH."""
    path = asset(name)
    return path if os.access(path, os.X_OK) else shutil.which(name)


def why_no_node():
    """Why no node can run here; empty if it can."""
    missing = [name for name in PROGRAMS if not os.access(asset(name), os.X_OK)]
    missing += [name for name in ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "gcc") if not find_program(name)]
    return f"a node needs {', '.join(missing)}, in KUBEBUILDER_ASSETS or in PATH" if missing else ""


def libraries_of(program):
    """The paths of its shared libraries and its loader."""
    return re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout)


class Layer:
    """The files of an image."""

    def __init__(self):
        self.files = {}

    def add(self, path, source):
        self.files[path] = (pathlib.Path(source).read_bytes(), 0o755)

    def add_program(self, path, source):
        self.add(path, os.path.realpath(source))
        for library in libraries_of(source):
            self.add(library, library)

    def text(self, path, text, mode=0o755):
        self.files[path] = (text.encode(), mode)

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name in ("tmp", "plugin", "run", "var/run"):
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(directory)
            for path, (content, mode) in self.files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(content), mode
                tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()


def write_archive(file, images):
    """A docker-archive of {reference: (layer, config)}."""
    manifest, entries = [], {}
    for reference, (layer, config) in images.items():
        data = layer.tar()
        digest = hashlib.sha256(data).hexdigest()
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
        name = hashlib.sha256(config).hexdigest() + ".json"
        entries |= {f"{digest}.tar": data, name: config}
        manifest.append({"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]})
    entries["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(file, "w") as tar:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def make_images(directory):
    """The archive of the image of this build's programs, for both containers, and of the pods' own container."""
    pause = directory / "pause"
    subprocess.run(["gcc", "-static", "-x", "c", "-", "-o", pause], input=b"int pause(void); int main(void) { for (;;) pause(); }", check=True)
    small, layer = Layer(), Layer()
    small.add("/pause", pause)
    stripped = directory / "stripped"
    for name, path in {"supervisor": "/usr/bin/supervisor", "mock-kms-provider": "/usr/libexec/mock-kms-plugin/mock-kms-provider"}.items():
        subprocess.run(["strip", "-o", stripped, binary(name)], check=True)
        layer.add(path, stripped)
        for library in libraries_of(binary(name)):
            layer.add(library, library)
    for tool in TOOLS:
        layer.add_program(f"/bin/{tool}", shutil.which(tool, path="/usr/bin:/bin"))
    layer.text("/bin/mock-kms-provider", '#!/bin/sh\nexec /usr/libexec/mock-kms-plugin/mock-kms-provider "$@"\n')
    layer.text("/usr/bin/builder", BUILDER)
    layer.text("/entry", '#!/bin/sh\nif [ "$1" = build ]; then exec builder "$@"; else exec supervisor "$@"; fi\n')
    layer.text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n", 0o644)
    environment = ["PATH=/usr/bin:/bin", "SUPERVISOR_CONTROL_SOCKET=unix:///run/mock-kms/supervisor.sock",
                   "MOCK_KMS_LISTEN_ADDR=unix:///var/run/kmsplugin/kms.sock", "MOCK_KMS_SOCKET=unix:///var/run/kmsplugin/kms.sock"]
    write_archive(directory / "images.tar", {
        IMAGE: (layer, {"Entrypoint": ["/entry"], "Env": environment}), PAUSE: (small, {"Entrypoint": ["/pause"]})})
    return directory / "images.tar"


def make_etcd_image(directory):
    """The archive of the image of etcd, with etcdctl."""
    layer = Layer()
    for name, path in {"etcd": asset("etcd"), "etcdctl": find_program("etcdctl"), "sleep": shutil.which("sleep")}.items():
        layer.add_program(f"/bin/{name}", path)
    write_archive(directory / "etcd.tar", {ETCD: (layer, {"Env": ["PATH=/bin"]})})
    return directory / "etcd.tar"


ETCD_FILES = {"ca.crt": "ca.pem", "server.crt": "etcd.pem", "server.key": "etcd.key"}  # of kubeadm, and of the ControlPlane


def etcd_pod(namespace, data, certificates, as_on_openshift):
    """The static pod of kubeadm, or the like of OpenShift's, which has a container for etcdctl."""
    tls = {kind: f"{certificates}/{name}" for kind, name in zip(("ca", "cert", "key"), ETCD_FILES)}
    mounts = [{"name": name, "mountPath": str(path)} for name, path in {"data": data, "certificates": certificates}.items()]
    containers = [{"name": "etcd", "image": ETCD, "imagePullPolicy": "Never", "volumeMounts": mounts, "command": [
        "etcd", f"--data-dir={data}", "--unsafe-no-fsync", "--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn", "--client-cert-auth", f"--trusted-ca-file={tls['ca']}", f"--cert-file={tls['cert']}",
        f"--key-file={tls['key']}"]}]
    if as_on_openshift:
        variables = {"ETCDCTL_ENDPOINTS": "https://127.0.0.1:2379", "ETCDCTL_CACERT": tls["ca"], "ETCDCTL_CERT": tls["cert"], "ETCDCTL_KEY": tls["key"]}
        containers.append({"name": "etcdctl", "image": ETCD, "imagePullPolicy": "Never", "command": ["sleep", "infinity"], "volumeMounts": mounts,
                           "env": [{"name": name, "value": value} for name, value in variables.items()]})
    volumes = [{"name": mount["name"], "hostPath": {"path": mount["mountPath"], "type": "Directory"}} for mount in mounts]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd", "namespace": namespace},
            "spec": {"hostNetwork": True, "containers": containers, "volumes": volumes}}


CONTAINERD = """
version = 2
root = "{root}/containerd"
state = "{root}/containerd-state"
[grpc]
  address = "{root}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/nonexistent"
    conf_dir = "{root}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def control_groups():
    """Those of the machine's containers, whose names no namespace hides."""
    return {*pathlib.Path("/sys/fs/cgroup").glob("k8s.io/*/"), *pathlib.Path("/sys/fs/cgroup").glob("*/k8s.io/*/")}


class KubeletNode:
    """The node `node1`, its containers, and the controllers and the scheduler of the control plane."""

    def __init__(self, plane):
        self.plane, self.root = plane, plane.directory / "node"
        self.root.mkdir()
        self.static_pods = self.root / "static-pods"
        self.programs = {}
        self.others_groups = control_groups()
        self.in_containers = ["containerd-shim-runc-v2", "supervisor", "mock-kms-provider", "pause"]
        for made in (self.static_pods, self.root / "cni"):
            made.mkdir()
        for path in HOST_DIRECTORIES:
            pathlib.Path(path).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
        self.environment = {"PATH": f"{os.environ['KUBEBUILDER_ASSETS']}:{os.environ['PATH']}:/usr/sbin:/sbin"}

    def start(self):
        self.start_containerd()
        self.ctr("images", "import", make_images(self.root))
        self.start_controllers()
        self.start_kubelet()
        until(lambda: self.plane.api.request("GET", f"/api/v1/nodes/{NODE}").ok, 120, lambda: self.log("kubelet"), pause=0.5)
        labels = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}
        assert self.plane.api.request("PATCH", f"/api/v1/nodes/{NODE}", labels, kind="application/merge-patch+json").ok
        return self

    def run(self, name, *arguments):
        """Starts a program, and ends the one before it."""
        if name in self.programs:
            self.programs[name].__exit__()
        self.programs[name] = Program(find_program(name), *arguments, env=self.environment)

    def log(self, name):
        return "\n".join(self.programs[name].stderr[-30:])

    def start_containerd(self):
        config = self.root / "containerd.toml"
        config.write_text(CONTAINERD.format(root=self.root, pause=PAUSE))
        self.run("containerd", "-c", config)
        until(lambda: self.ctr("version", check=False).returncode == 0, 60, lambda: self.log("containerd"))

    def start_controllers(self):
        kubeconfig, pki = f"--kubeconfig={self.plane.kubeconfig}", self.plane.pki
        self.run("kube-controller-manager", kubeconfig, f"--service-account-private-key-file={pki / 'accounts.key'}", f"--root-ca-file={pki / 'ca.pem'}",
                 "--use-service-account-credentials=false", "--leader-elect=false", "--bind-address=127.0.0.1")
        self.run("kube-scheduler", kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1")

    def start_kubelet(self):
        config = self.root / "kubelet.yaml"
        config.write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": ADDRESS,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(self.plane.pki / "ca.pem")}},
            "authorization": {"mode": "AlwaysAllow"}, "cgroupDriver": "cgroupfs", "failCgroupV1": False, "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self.root}/containerd.sock", "cgroupsPerQOS": False, "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": False, "evictionHard": {"memory.available": "1Mi"}, "staticPodPath": str(self.static_pods),
            "syncFrequency": "5s", "registerWithTaints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}))
        self.run("kubelet", f"--config={config}", f"--kubeconfig={self.plane.kubeconfig}", "--root-dir=/var/lib/kubelet", f"--hostname-override={NODE}",
                 f"--node-ip={ADDRESS}")

    def ctr(self, *arguments, check=True):
        return subprocess.run([find_program("ctr"), "-a", f"{self.root}/containerd.sock", "-n", "k8s.io", *map(str, arguments)], check=check, capture_output=True, text=True)

    def processes(self, name):
        """The pids whose program has this name: those in containers too, as they are in the same process namespace or below."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
            try:
                if path.read_text().strip() == name[:15]:
                    found.append(int(path.parent.name))
            except OSError:
                pass  # it has ended meanwhile
        return found

    def move_etcd_into_a_pod(self, namespace="kube-system", as_on_openshift=False):
        """The data stays. The name of the pod is etcd-node1."""
        self.ctr("images", "import", make_etcd_image(self.root))
        certificates = pathlib.Path("/etc/kubernetes/pki/etcd")
        certificates.mkdir(parents=True)
        for name, source in ETCD_FILES.items():
            shutil.copy(self.plane.pki / source, certificates / name)
        self.plane.api.stop(signal.SIGKILL)  # the kubelet waits for an answer about the pod, but not for a server that is gone
        self.plane.etcd.stop()
        self.in_containers.append("etcd")
        pod = etcd_pod(namespace, self.plane.directory / "etcd", certificates, as_on_openshift)
        (self.static_pods / "etcd.yaml").write_text(json.dumps(pod))
        until(self.plane.etcd_answers, 90, lambda: self.log("kubelet"), pause=0.5)
        self.plane.api.start()
        mirror = f"/api/v1/namespaces/{namespace}/pods/etcd-{NODE}"
        until(lambda: "containerStatuses" in self.plane.api.request("GET", mirror).text, 60, lambda: self.log("kubelet"), pause=0.5)

    def cut(self):
        """As a power cut: SIGKILL to everything but etcd."""
        self.plane.api.stop(signal.SIGKILL)
        for name in ("kubelet", "containerd", "kube-controller-manager", "kube-scheduler"):
            self.programs.pop(name).__exit__()
        self.kill_containers()

    def power_on(self):
        """After cut(). Does not wait until the API server is ready."""
        self.plane.api.start(wait=False)
        self.start_containerd()
        self.start_kubelet()
        self.start_controllers()

    def kill_containers(self):
        for name in self.in_containers:
            for pid in self.processes(name):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def close(self):
        for program in reversed(list(self.programs.values())):
            program.__exit__()
        self.kill_containers()
        for group in control_groups() - self.others_groups:
            for path in (*sorted(group.rglob("*/"), reverse=True), group, group.parent):
                try:
                    path.rmdir()
                except OSError:
                    pass  # it is a file, or in use
