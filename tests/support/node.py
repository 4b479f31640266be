"""A directory that stands for a node's root, and podman that plays the kubelet on it.

A Node is used by the test's own thread. Pods run with runc and with limits that this machine lets them have. The
images and podman's own files are below the build directory, so that nothing is left elsewhere; its sockets need a short
path, and are in the node's directory.
"""

import json
import os
import pathlib
import subprocess
import time

import yaml

from support.processes import DEADLINE

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAY_DEADLINE = 600  # seconds; a pod may compile
TARGETS = ("runtime", "builder", "full", "vault-stand-in")
IMAGES = {f"mock-kms-plugin-{target}": f"localhost/mock-kms-plugin-{target}:test" for target in TARGETS}


def limits():
    """Limits no higher than this process' own: raising them is not allowed everywhere."""
    import resource
    most = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(number)[1] for name, number in most.items()}
    return [f"{name}={n}:{n}" for name, n in ((name, 10000 if h == resource.RLIM_INFINITY else min(10000, h)) for name, h in hard.items())]


def render_with(component, directory, base="base"):
    """The documents of manifests/BASE with a component, by a kustomization that this writes into `directory`."""
    manifests = os.path.relpath(ROOT / "manifests", os.path.realpath(directory))
    (directory / "kustomization.yaml").write_text(f"resources: [{manifests}/{base}]\ncomponents: [{manifests}/components/{component}]\n")
    return render(directory)


def render(directory):
    """The documents of a kustomization."""
    result = subprocess.run([ROOT / "scripts/kustomize", directory], check=True, capture_output=True, text=True, timeout=300)
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def container_environment(directory):
    """The environment in which podman keeps everything below the build directory, and its sockets in `directory`."""
    storage = pathlib.Path(os.environ["KMS_BUILD_DIR"]) / "containers"
    storage.mkdir(parents=True, exist_ok=True)
    (directory / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}"\nrunroot = "{directory}/run"\n')
    (directory / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = {json.dumps(limits())}\nlog_driver = "k8s-file"\n'
        f'[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
        f'static_dir = "{storage}/libpod"\ntmp_dir = "{directory}/tmp"\nvolume_path = "{storage}/volumes"\n')
    return {**os.environ, "CONTAINERS_CONF": str(directory / "containers.conf"), "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf")}


class Node:
    def __init__(self, directory):
        self.root = directory / "root"
        self.root.mkdir()
        self.environment = container_environment(directory)
        self.pods = []

    def podman(self, *arguments, check=True, timeout=60, **run):
        result = subprocess.run(["podman", *map(str, arguments)], env=self.environment, capture_output=True, text=True, timeout=timeout, **run)
        if check:
            assert result.returncode == 0, (arguments, result.stdout[-2000:], result.stderr[-2000:])
        return result

    def host(self, path):
        """The place of the node's file on this machine."""
        return self.root / path.lstrip("/")

    def apply(self, documents, workload=None):
        """Starts the pod of a workload. Returns when its init containers have ended and its containers run."""
        translate = [ROOT / "scripts/podman-pod", "--root", self.root]
        translate += [f"--image={prefix}{name}={reference}" for name, reference in IMAGES.items() for prefix in ("", "localhost/")]
        translate += ["--workload", workload] if workload else []
        pod = subprocess.run(translate, input=yaml.safe_dump_all(documents), check=True, capture_output=True, text=True).stdout
        name = yaml.safe_load(pod)["metadata"]["name"]
        self.pods.append(name)
        return self.podman("kube", "play", "-", input=pod, check=False, timeout=PLAY_DEADLINE)

    def delete(self, pod):
        """As the kubelet deletes a pod: TERM, then its containers and emptyDirs go."""
        self.podman("pod", "stop", "--time", "30", pod)
        self.forget(pod)

    def forget(self, pod):
        self.podman("pod", "rm", "--force", "--time", "0", pod)
        subprocess.run(["rm", "-rf", self.root / "volumes" / pod], check=True)
        if pod in self.pods:
            self.pods.remove(pod)

    def exec(self, container, *command, **options):
        return self.podman("exec", container, *command, **options)

    def status(self, container):
        """The plugin's status once it is healthy."""
        return json.loads(self.exec(container, "supervisor", "status", "--wait=60s", "-o", "json", timeout=90).stdout)

    def log(self, container):
        result = self.podman("logs", container)
        return result.stdout + result.stderr

    def start_again(self, container):
        """Starts a container that has ended, once podman has noticed: of a dead one that it takes for alive it starts nothing.

        With the last container of a pod podman stops the pod's own, some time later, which must run again first.
        """
        self.podman("wait", container)
        pod = self.podman("inspect", "--format", "{{.Pod}}", container).stdout.strip()
        pods_own = self.podman("pod", "inspect", "--format", "{{.InfraContainerID}}", pod).stdout.strip()
        until = time.monotonic() + DEADLINE
        while True:
            self.podman("start", pods_own, check=False)
            last = time.monotonic() > until
            if self.podman("start", container, check=last).returncode == 0:
                return

    def pid(self, container):
        return int(self.podman("inspect", "--format", "{{.State.Pid}}", container).stdout)

    def termination_message(self, container):
        """The message that the kubelet would show: the file, or the end of the log if a failed container left it empty."""
        return (self.root / "termination" / container).read_text() or self.log(container)[-2048:]

    def close(self):
        for pod in list(self.pods):
            self.forget(pod)
