"""etcd and kube-apiserver from KUBEBUILDER_ASSETS, and means to look into both.

A ControlPlane needs the namespaces that tests/cluster/in_namespaces.py makes: it uses fixed ports. Calls go over HTTPS as those of any
client do. It is used by any thread; servers are started and stopped by the test's own thread.
"""

import base64
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import time

from support.processes import Program
from support.tls import Authority

ADDRESS = "10.99.0.1"  # in_namespaces.py gives it, and the next one, to an interface
TOKEN = "admin-token"
START_DEADLINE = 240  # seconds; an API server takes five on an idle machine
GROUP = "kms.test"


def asset(program):
    """The path of one of Kubernetes' programs."""
    return str(pathlib.Path(os.environ["KUBEBUILDER_ASSETS"]) / program)


def until(condition, deadline, what, pause=0.2):
    """Polls until the condition is true, and returns its value."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline} s: {what() if callable(what) else what}"
        time.sleep(pause)
    return value


class Answer:
    def __init__(self, code, text):
        self.code, self.text = code, text

    @property
    def ok(self):
        return 200 <= self.code < 300

    @property
    def body(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.code} {self.text[:400]}"


def kms(name, endpoint, version="v2", timeout="3s"):
    """A kms provider of an EncryptionConfiguration."""
    return {"kms": {"apiVersion": version, "name": name, "endpoint": endpoint, "timeout": timeout}}


IDENTITY = {"identity": {}}


class ApiServer:
    """One kube-apiserver. Its errors are in `program.stderr`."""

    def __init__(self, plane, address=ADDRESS, options=()):
        self.plane, self.address, self.options = plane, address, options
        self.wrapper = []  # a command that executes the server
        self.program = None

    def start(self, wait=True):
        plane, pki = self.plane, self.plane.pki
        encryption = []
        if plane.configuration.exists():
            encryption = [f"--encryption-provider-config={plane.configuration}"]
        self.program = Program(
            *self.wrapper, asset("kube-apiserver"), "--etcd-servers=https://127.0.0.1:2379", f"--etcd-cafile={pki / 'ca.pem'}",
            f"--etcd-certfile={pki / 'etcd.pem'}", f"--etcd-keyfile={pki / 'etcd.key'}", "--secure-port=6443", f"--bind-address={self.address}",
            f"--advertise-address={self.address}", f"--tls-cert-file={pki / 'api.pem'}", f"--tls-private-key-file={pki / 'api.key'}",
            f"--client-ca-file={pki / 'ca.pem'}", f"--token-auth-file={pki / 'tokens.csv'}",
            f"--kubelet-client-certificate={pki / 'kubelet-client.pem'}", f"--kubelet-client-key={pki / 'kubelet-client.key'}",
            f"--service-account-key-file={pki / 'accounts.pem'}", f"--service-account-signing-key-file={pki / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc", "--kubelet-preferred-address-types=InternalIP",
            "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            *encryption, *self.options)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def answers():
            assert self.program.process.poll() is None, self.program.stderr[-20:]
            return self.ready().ok

        until(answers, START_DEADLINE, lambda: f"{self.ready()}\n" + "\n".join(self.program.stderr[-20:]))

    def wait_namespace(self):
        """Until `default` exists, which the server makes a moment after its first answer. For a server that does not become ready."""
        until(lambda: self.request("GET", "/api/v1/namespaces/default").ok, 120, self.ready)

    def stop(self, number=signal.SIGTERM):
        if self.program is None:
            return
        if number == signal.SIGTERM:
            self.program.send(signal.SIGTERM)
            try:
                self.program.process.wait(30)
            except subprocess.TimeoutExpired:
                pass  # it waits for watches of clients
        self.program.__exit__()
        self.program = None

    def restart(self, number=signal.SIGTERM, wait=True):
        self.stop(number)
        return self.start(wait)

    def request(self, method, path, body=None, kind="application/json", timeout=60):
        """The answer; without one, code 0 and the reason."""
        connection = http.client.HTTPSConnection(self.address, 6443, context=self.plane.tls, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind, "Accept": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, response.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    def ready(self, check=""):
        """/readyz, or one of its checks."""
        return self.request("GET", f"/readyz{'/' + check if check else '?verbose'}", timeout=20)

    def kms_failures(self):
        """{number of a kms provider, from 0: the error of its health check}. One check asks all, one after the other."""
        answer = self.request("GET", "/readyz/kms-providers", timeout=120)
        assert answer.code in (200, 500), answer
        text = answer.text.removeprefix("internal server error: ").strip().removeprefix("[").removesuffix("]")
        return {int(n): why for n, why in re.findall(r"(?s)kms-provider-(\d+): (.*?)(?=, kms-provider-\d+: |$)", text)}

    def metric(self, name, **labels):
        """The sum of a metric's samples with these labels."""
        total = 0.0
        for line in self.request("GET", "/metrics").text.splitlines():
            if line.partition("{")[0].partition(" ")[0] == name and all(f'{label}="{value}"' in line for label, value in labels.items()):
                total += float(line.rpartition(" ")[2])
        return total


class ControlPlane:
    """etcd, and an API server `api` with the configuration that configure() wrote."""

    def __init__(self, directory):
        self.directory, self.pki = directory, directory / "pki"
        self.configuration = directory / "encryption.yaml"
        self.kubeconfig = directory / "kubeconfig"
        self._make_pki()
        self.start_etcd()
        self.servers = []
        self.api = self.server()

    def server(self, address=ADDRESS, options=()):
        self.servers.append(ApiServer(self, address, options))
        return self.servers[-1]

    def _make_pki(self):
        authority = Authority(self.pki)
        names = ["DNS:localhost", "DNS:kubernetes.default.svc", "IP:127.0.0.1", "IP:10.0.0.1", f"IP:{ADDRESS}", "IP:10.99.0.2"]
        authority.certificate("api", names=",".join(names))
        authority.certificate("kubelet-client", subject="/O=system:masters/CN=apiserver-kubelet")
        authority.certificate("accounts")
        authority.certificate("etcd", names="IP:127.0.0.1,DNS:localhost")
        (self.pki / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        self.tls, self.etcd_tls = (ssl.create_default_context(cafile=str(authority.ca)) for _ in range(2))
        self.etcd_tls.load_cert_chain(self.pki / "etcd.pem", self.pki / "etcd.key")
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"https://{ADDRESS}:6443", "certificate-authority": str(authority.ca)}}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]}))

    def start_etcd(self):
        client, peer, pki = "https://127.0.0.1:2379", "http://127.0.0.1:2380", self.pki
        self.etcd = Program(asset("etcd"), "--data-dir", self.directory / "etcd", "--unsafe-no-fsync", "--listen-client-urls", client,
                            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--log-level=warn", "--client-cert-auth",
                            f"--trusted-ca-file={pki / 'ca.pem'}", f"--cert-file={pki / 'etcd.pem'}", f"--key-file={pki / 'etcd.key'}")
        until(self.etcd_answers, 60, lambda: self.etcd.stderr[-5:])

    def etcd_answers(self):
        try:
            return self._etcd("maintenance/status", {})
        except OSError:
            return None

    def _etcd(self, call, body):
        connection = http.client.HTTPSConnection("127.0.0.1", 2379, context=self.etcd_tls, timeout=20)
        try:
            connection.request("POST", f"/v3/{call}", json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def configure(self, *resources):
        """Writes the EncryptionConfiguration: (resources, providers) pairs. A server reads it when it starts, or reloads it."""
        text = json.dumps({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                           "resources": [{"resources": names, "providers": providers} for names, providers in resources]})
        new = self.configuration.with_suffix(".new")
        new.write_text(text)
        new.rename(self.configuration)

    # --- objects, by the API server `api` unless another is named

    def create(self, name, data="a secret", resource="secrets", server=None, namespace="default", timeout=60):
        """A Secret, ConfigMap or custom object."""
        server = server or self.api
        if resource.endswith("." + GROUP):
            body = {"apiVersion": f"{GROUP}/v1", "kind": kind_of(resource), "metadata": {"name": name}, "data": data}
        elif resource == "secrets":
            body = {"metadata": {"name": name}, "stringData": {"text": data}}
        else:
            body = {"metadata": {"name": name}, "data": {"text": data}}
        return server.request("POST", path_of(resource, namespace), body, timeout=timeout)

    def read(self, name, resource="secrets", server=None, namespace="default", timeout=60):
        """The data of an object, or the answer that is not OK."""
        answer = (server or self.api).request("GET", f"{path_of(resource, namespace)}/{name}", timeout=timeout)
        if not answer.ok:
            return answer
        data = answer.body["data"]
        if resource == "secrets":
            return base64.b64decode(data["text"]).decode()
        return data if isinstance(data, str) else data["text"]

    def rewrite(self, name, resource="secrets", namespace="default"):
        path = f"{path_of(resource, namespace)}/{name}"
        return self.api.request("PUT", path, self.api.request("GET", path).body)

    def define(self, resource):
        """A custom resource NAME.kms.test."""
        plural = resource.removesuffix("." + GROUP)
        kind = kind_of(resource)
        names = {"plural": plural, "singular": plural, "kind": kind, "listKind": kind + "List"}
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        answer = self.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": resource},
            "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]}})
        assert answer.ok, answer

    def wait_defined(self, resource):
        until(lambda: self.api.request("GET", path_of(resource)).code == 200, 60, resource)

    # --- etcd

    def stored(self, name, resource="secrets", namespace="default"):
        """The bytes in etcd."""
        key = base64.b64encode(etcd_key(name, resource, namespace).encode()).decode()
        return base64.b64decode(self._etcd("kv/range", {"key": key})["kvs"][0]["value"])

    def stored_under(self, prefix):
        """{key: value} of all objects whose key begins so."""
        first, last = prefix.encode(), prefix.encode()[:-1] + bytes([prefix.encode()[-1] + 1])
        answer = self._etcd("kv/range", {"key": base64.b64encode(first).decode(), "range_end": base64.b64encode(last).decode()})
        return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]) for kv in answer.get("kvs", [])}

    # --- clients

    def kubectl(self, *arguments, check=True, **run):
        result = subprocess.run([kubectl(), "--kubeconfig", self.kubeconfig, *map(str, arguments)],
                                capture_output=True, text=True, timeout=run.pop("timeout", 120),
                                env={**os.environ, "KUBECACHEDIR": str(self.directory / "kubectl-cache")}, **run)
        if check:
            assert result.returncode == 0, (arguments, result.stdout[-2000:], result.stderr[-2000:])
        return result

    def close(self):
        for server in self.servers:
            server.stop(signal.SIGKILL)
        self.etcd.__exit__()


def kubectl():
    path = asset("kubectl")
    return path if os.access(path, os.X_OK) else shutil.which("kubectl")


def kind_of(resource):
    return "".join(word.capitalize() for word in resource.removesuffix("." + GROUP).split("-"))


def path_of(resource, namespace="default"):
    if resource.endswith("." + GROUP):
        return f"/apis/{GROUP}/v1/namespaces/{namespace}/{resource.removesuffix('.' + GROUP)}"
    return f"/api/v1/namespaces/{namespace}/{resource}"


def etcd_key(name, resource="secrets", namespace="default"):
    if resource.endswith("." + GROUP):
        return f"/registry/{GROUP}/{resource.removesuffix('.' + GROUP)}/{namespace}/{name}"
    return f"/registry/{resource}/{namespace}/{name}"
