"""Kubernetes' own API types, read from the package of its official JavaScript client, and manifests held against them.

The client is generated from Kubernetes' OpenAPI document: each model has a table of its fields and their types, and its
declaration says which are required. An unknown field is a finding, as it is for `kubectl apply --validate=strict`.
"""

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE, DIRECTORY = "@kubernetes/client-node@1.4.0", "kubernetes-types"  # of Kubernetes 1.34
SCALARS = {"string": str, "number": (int, float), "boolean": bool, "IntOrString": (int, str), "Date": str, "any": object, "object": dict}


def models_directory():
    """The package's models; got from npm the first time."""
    subprocess.run(["bash", "-c", f". scripts/setup.sh; get_npm {PACKAGE} {DIRECTORY}"], cwd=ROOT, check=True, timeout=300)
    return ROOT / "build/npm" / DIRECTORY / "dist/gen/models"


class Types:
    def __init__(self):
        self._directory = models_directory()
        self._models = {}

    def model_of(self, document):
        """The model's name of a whole object: V1DaemonSet, V1RoleBinding."""
        version = document["apiVersion"].rpartition("/")[2]
        return version.capitalize() + document["kind"]

    def fields(self, model):
        """{field: (type, required)}"""
        if model not in self._models:
            table = re.search(r"attributeTypeMap = (\[.*?\n\]);", (self._directory / f"{model}.js").read_text(), re.S)
            declared = (self._directory / f"{model}.d.ts").read_text()
            required = set(re.findall(r"^    '(\w+)': ", declared, re.M))
            self._models[model] = {f["baseName"]: (f["type"], f["name"] in required) for f in json.loads(table[1])}
        return self._models[model]

    def findings(self, value, model, path=""):
        """The mistakes of an object, one line each."""
        if not isinstance(value, dict):
            return [f"{path}: is {type(value).__name__}, not an object"]
        fields = self.fields(model)
        found = [f"{path}.{name}: is missing" for name, (_, required) in fields.items() if required and name not in value]
        for name, item in value.items():
            if name not in fields:
                found.append(f"{path}.{name}: no such field in {model}")
            elif item is not None:
                found += self._typed(item, fields[name][0], f"{path}.{name}")
        return found

    def _typed(self, value, kind, path):
        if inner := re.fullmatch(r"Array<(.*)>", kind):
            if not isinstance(value, list):
                return [f"{path}: is no list"]
            return [line for i, item in enumerate(value) for line in self._typed(item, inner[1], f"{path}[{i}]")]
        if inner := re.fullmatch(r"\{ \[key: string\]: (.*); \}", kind):
            if not isinstance(value, dict):
                return [f"{path}: is no map"]
            return [line for key, item in value.items() for line in self._typed(item, inner[1], f"{path}.{key}")]
        if kind in SCALARS:
            wrong = not isinstance(value, SCALARS[kind]) or (kind == "number" and isinstance(value, bool))
            return [f"{path}: {value!r} is no {kind}"] if wrong else []
        return self.findings(value, kind, path)
