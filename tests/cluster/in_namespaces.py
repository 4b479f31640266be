#!/usr/bin/python3
"""Runs pytest where a cluster may start: in new mount, network and process namespaces.

  in_namespaces.py PYTEST-ARGUMENT...

KUBEBUILDER_ASSETS names a directory with etcd, kube-apiserver and kubectl, as for controller-runtime's envtest. If something is missing,
the script prints it on one line and exits with code 77, which ctest counts as skipped.

Inside, the ports are free, and 10.99.0.1 and 10.99.0.2 are this machine. All processes end with the script.
"""

import os
import shutil
import subprocess
import sys

SKIPPED = 77
CONTROL_PLANE = ["etcd", "kube-apiserver", "kubectl"]
UNSHARE = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
SET_UP = """
set -e
ip link set lo up
ip link add node0 type bridge
for address in 10.99.0.1 10.99.0.2; do ip address add $address/24 dev node0; done
ip link set node0 up
ip route add default dev node0
"""


def why_not():
    """Why no cluster can run here; empty if it can."""
    assets = os.environ["KUBEBUILDER_ASSETS"]
    missing = [program for program in CONTROL_PLANE if not os.access(f"{assets}/{program}", os.X_OK)]
    if missing == ["kubectl"] and shutil.which("kubectl"):
        missing = []
    if missing:
        return f"{assets} has no {', '.join(missing)}; set KUBEBUILDER_ASSETS to a directory that has"
    if os.geteuid() != 0:
        return "namespaces need root"
    trial = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    if trial.returncode != 0:
        return f"no namespaces can be made here: {trial.stderr.strip()}"
    return ""


def outside(arguments):
    os.environ["KUBEBUILDER_ASSETS"] = os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin"
    if reason := why_not():
        print(f"skipped: {reason}")
        return SKIPPED
    return subprocess.run([*UNSHARE, sys.executable, __file__, "--inside", *arguments]).returncode


def inside(arguments):
    """The first process of its namespace: ends with pytest, and reaps what nobody else does."""
    subprocess.run(["bash", "-c", SET_UP], check=True)
    pytest = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])
    while True:
        pid, status = os.wait()
        if pid == pytest.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(sys.argv[2:]))
    sys.exit(outside(sys.argv[1:]))
