"""A plugin in the upstream mock's layout, from a large repository, deployed by the component: compiled with Go, its key in SoftHSM.

It runs only if KMS_TEST_UPSTREAM_MOCK is set, because the image builder-go and the compile take minutes.
"""

import os
import pathlib
import re
import subprocess

import pytest

from support.huge_repository import PLUGIN, generate
from support.kms_client import KmsClient
from support.node import IMAGES, render

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = pathlib.Path(__file__).parent / "go_plugin"
DEBIAN = pathlib.Path("/usr/share/gocode/src")  # scripts/test installs these modules if the variable is set
HEADER = pathlib.Path("/usr/include/p11-kit-1/p11-kit/pkcs11.h")
MOCK = f"{PLUGIN}/internal/plugins/_mock"
POD, SUPERVISOR, TOKEN = "mock-kms-plugin", "mock-kms-plugin-supervisor", "mock-kms-plugin-make-token"
MODULES = {
    "github.com/ThalesIgnite/crypto11": ("v1.2.5", [""]),
    "github.com/miekg/pkcs11": ("v1.0.3", [""]),
    "github.com/pkg/errors": ("v0.9.1", [""]),
    "github.com/thales-e-security/pool": ("v0.0.2", [""]),
    "golang.org/x/net": ("v0.7.0", ["/http/httpguts", "/http2", "/http2/hpack", "/idna"]),
    "golang.org/x/text": ("v0.7.0", ["/secure/bidirule", "/transform", "/unicode/bidi", "/unicode/norm"]),
}

pytestmark = pytest.mark.skipif("KMS_TEST_UPSTREAM_MOCK" not in os.environ,
                                reason="takes minutes; KMS_TEST_UPSTREAM_MOCK=1 scripts/test -R test_upstream_mock runs it")


def vendored():
    """vendor/ as `go mod vendor` makes it, {path: text}, from Debian's packages."""
    service = "example.org/kms/pkg/service"
    files = {f"{service}/service.go": (SOURCE / "pkg/service/service.go").read_text()}
    lines = ["# example.org/kms v0.0.0-00010101000000-000000000000 => ../../../../kms", "## explicit; go 1.19", service]
    for module, (version, packages) in MODULES.items():
        lines += [f"# {module} {version}", "## explicit", *(module + package for package in packages)]
        for directory in (DEBIAN / (module + package) for package in packages):
            for file in directory.iterdir():
                if file.suffix in (".go", ".h") and not file.name.endswith("_test.go"):
                    files[str(file.relative_to(DEBIAN))] = file.read_text().replace("#cgo pkg-config: nss\n", "")
    # Debian's module takes the header of nss. p11-kit's needs no other one, and lacks one type.
    header = HEADER.read_text()
    files["github.com/miekg/pkcs11/pkcs11.h"] = header + "\ntypedef unsigned long CK_EC_KDF_TYPE;\n"
    files["modules.txt"] = "\n".join([*lines, "# example.org/kms => ../../../../kms", ""])
    return {f"{MOCK}/vendor/{path}": text for path, text in files.items()}


def plugin():
    """The plugin's part of the repository, {path: text}."""
    own = {str(file.relative_to(SOURCE)): file.read_text() for file in SOURCE.rglob("*") if file.is_file()}
    return {f"{PLUGIN}/{path}": text for path, text in own.items()} | vendored()


@pytest.fixture(scope="module")
def builder_go(images):
    name = "mock-kms-plugin-builder-go"
    image = f"localhost/{name}:test"
    made = subprocess.run([ROOT / "scripts/image", "--engine=podman", "--tag=test", "builder-go"], env=images, capture_output=True,
                          text=True, timeout=1500)
    assert made.returncode == 0, made.stderr
    IMAGES[name] = image
    yield image
    del IMAGES[name]


def manifests():
    """The overlay, with the node's directory /repository as repository to compile."""
    documents = render(ROOT / "manifests/overlays/upstream-mock")
    spec = next(d for d in documents if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    build = next(c for c in spec["initContainers"] if c["name"] == "build-plugin")
    for variable in build["env"]:
        variable["value"] = {"BUILDER_REPO": "/repository", "BUILDER_REF": "main"}.get(variable["name"], variable["value"])
    build["volumeMounts"].append({"name": "repository", "mountPath": "/repository", "readOnly": True})
    spec["volumes"].append({"name": "repository", "hostPath": {"path": "/repository"}})
    return documents


def test_the_component_compiles_the_upstream_layout_and_serves_with_a_token_made_at_each_start(node, builder_go):
    """The published seed has a NUL, at which softhsm2-util would cut a key."""
    generate(node.host("/repository"), plugin=plugin())
    documents, sealed = manifests(), None
    for start in ("first", "second"):  # the second in a new pod, whose token is made again from the same seed
        result = node.apply(documents)
        assert result.returncode == 0, (result.stderr, node.log(f"{POD}-build-plugin"))
        status = node.status(SUPERVISOR)
        assert status["answer"]["keyId"] == "kms-test" and status["binary"]["path"] == "/plugin/mock-kms-plugin"
        assert status["binary"]["matchesBuild"] and status["binary"]["build"]["repository"] == "/repository"
        assert "The token has been initialized" in node.log(TOKEN)
        with KmsClient(f"unix://{node.host('/var/run/kmsplugin/kms.sock')}") as kms:
            sealed = sealed or kms.encrypt(b"a secret")
            assert kms.decrypt(sealed) == b"a secret"
        log = node.log(f"{POD}-build-plugin")
        assert ("published from the cache" in log) == (start == "second"), log
        if start == "first":
            files = int(re.search(r"checked out files=(\d+)", log)[1])
            assert files < 300 and "phase=modules" not in log  # of 30,000; vendor/ is downloaded from nowhere
        node.delete(POD)
        assert not list(node.host("/var/run/kmsplugin").iterdir())
