"""The steps of the step registry: their files, their results, and a job that runs them against a real API server."""

import pathlib
import re
import subprocess
import xml.etree.ElementTree as xml

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "manifests/step-registry"
NAMESPACE = "kms-plugin-test"


def file_of(step, kind):
    return REGISTRY / f"kms/mock-plugin/{step}/kms-mock-plugin-{step}-{kind}"


def defaults(step):
    """The defaults of the ref, which the step registry sets."""
    return {entry["name"]: entry["default"] for entry in yaml.safe_load(file_of(step, "ref.yaml").read_text())["ref"]["env"]}


def junit(artifacts, step):
    """{case: "passed", or what its failure or skip says}"""
    suite = xml.parse(artifacts / f"junit_kms-mock-plugin-{step}.xml").getroot()
    cases = {}
    for case in suite.findall("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("skipped")
        cases[case.get("name")] = "passed" if bad is None else (bad.text or bad.get("message"))
    assert int(suite.get("tests")) == len(cases) and int(suite.get("failures")) == len(suite.findall("*/failure"))
    return cases


class RealJob:
    """The directories of a job, and its steps by kubectl. Used by the test's own thread."""

    def __init__(self, directory, kubectl, kubeconfig):
        self.shared, self.artifacts, self.kubeconfig = directory / "shared", directory / "artifacts", kubeconfig
        for made in (self.shared, self.artifacts, directory / "bin"):
            made.mkdir()
        (directory / "bin/kubectl").symlink_to(kubectl)
        self.path = f"{directory / 'bin'}:/usr/bin:/bin"

    def start(self, step, **variables):
        environment = {"PATH": self.path, "HOME": str(self.shared.parent), "KUBECONFIG": str(self.kubeconfig), "SHARED_DIR": str(self.shared),
                       "ARTIFACT_DIR": str(self.artifacts), "KMS_POLL_SECONDS": "1", **variables}
        return subprocess.Popen(["bash", file_of(step, "commands.sh")], env=environment, cwd="/",
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, step, timeout=600, **variables):
        """The exit code and the output."""
        process = self.start(step, **variables)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        print(re.sub("(?m)^", f"{step}| ", output))
        return process.returncode, output

    def junit(self, step):
        return junit(self.artifacts, step)
