"""The component `monitoring`: what kustomize renders, the alerts by promtool, and the dashboard's queries in a real Prometheus."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
import yaml

from support import processes
from support.kms_client import KmsClient
from support.node import render_with
from support.processes import DEADLINE, Program, binary, run_provider
from support.supervised import Supervised

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPONENT = ROOT / "manifests/components/monitoring"
ALERTS = yaml.safe_load((COMPONENT / "alerts.yaml").read_text())["spec"]
DASHBOARD = json.loads((COMPONENT / "dashboard.json").read_text())


def needs(program):
    """Skips a test where a program is not installed, but in CI, which leaves nothing out."""
    return pytest.mark.skipif(shutil.which(program) is None and not os.environ.get("CI"), reason=f"{program} is not installed")


@pytest.mark.parametrize("base", ["base", "overlays/static-pod", "overlays/openshift"])
def test_the_component_turns_metrics_on_where_the_pod_monitor_finds_them(base, tmp_path):
    documents = render_with("monitoring", tmp_path, base)
    [monitor] = [d for d in documents if d["kind"] == "PodMonitor"]
    [config_map] = [d for d in documents if d["kind"] == "ConfigMap"]
    assert {"PrometheusRule"} <= {d["kind"] for d in documents}
    assert json.loads(config_map["data"]["dashboard.json"]) == DASHBOARD and config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    for document in documents:
        if document["kind"] not in ("DaemonSet", "Pod"):
            continue
        template = document["spec"]["template"] if document["kind"] == "DaemonSet" else document
        assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        container = template["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert set(ports) == {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
        variables = {v["name"]: v.get("value") for v in container["env"]}
        assert variables["SUPERVISOR_METRICS_ADDR"] == f":{ports['supervisor']}" and variables["MOCK_KMS_METRICS_ADDR"] == f":{ports['provider']}"


@needs("promtool")
def test_every_alert_fires_when_it_should_and_not_before(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(ALERTS))
    shutil.copy(ROOT / "tests/manifests/alerts_test.yaml", tmp_path)
    for command in (["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], ["test", "rules", "alerts_test.yaml"]):
        result = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stdout + result.stderr
    tested = {case["alertname"] for group in yaml.safe_load((tmp_path / "alerts_test.yaml").read_text())["tests"]
              for case in group["alert_rule_test"] if case["exp_alerts"]}
    assert tested == {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}


def test_every_alert_has_a_runbook_in_the_documentation():
    text = (ROOT / "docs/troubleshooting.md").read_text()
    anchors = {"#" + re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)}
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            file, anchor = re.fullmatch(r"([\w/.-]+)(#.*)", rule["annotations"]["runbook_url"]).groups()
            assert file == "docs/troubleshooting.md" and anchor in anchors, rule["alert"]


@pytest.fixture(scope="module")
def scraped():
    """A Prometheus that scrapes a supervisor and a provider, after calls, failures, a fault, a rotation and a kill."""
    directory = processes.short_directory()
    with contextlib.ExitStack() as stack:
        supervised = stack.enter_context(Supervised(
            directory, options=["--metrics-addr=127.0.0.1:0", "--probe-interval=100ms"],
            env={"MOCK_KMS_METRICS_ADDR": "127.0.0.1:" + str(free_port())}))
        pid = supervised.healthy()["pid"]
        os.kill(pid, 9)
        supervised.healthy_after(pid)
        targets = {}
        for line in supervised.program.stderr:
            if found := re.search(r" (supervisor|mock-kms-provider): serving metrics url=http://([^/]+)/metrics", line):
                targets[found[1]] = found[2]
        config = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}, "rule_files": [str(directory / "rules.yaml")],
                  "scrape_configs": [{"job_name": name, "static_configs": [{"targets": [target], "labels": {
                      "namespace": "kms-plugin-test", "node": "master-0", "pod": "mock-kms-plugin-x", "endpoint": name, "app_kubernetes_io_instance": "mock-kms-plugin"}}]}
                      for name, target in targets.items()]}
        (directory / "rules.yaml").write_text(yaml.safe_dump(ALERTS))
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        port = free_port()
        prometheus = stack.enter_context(Program(
            "prometheus", f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"))
        prometheus.wait_for_line("Server is ready to receive web requests", deadline=DEADLINE * 3)

        def query(expression):
            url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
            with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
                return json.load(answer)["data"]["result"]

        def wait_for(expression):
            until = time.monotonic() + DEADLINE * 3
            while not (found := query(expression)):
                assert time.monotonic() < until, f"no result of {expression}"
                time.sleep(0.1)  # Prometheus has no notification of a scrape
            return found

        wait_for("count_over_time(kms_supervisor_up[1m]) > 2")
        wait_for("count_over_time(mock_kms_calls_total[1m]) > 2")
        firing_before = query('ALERTS{alertstate="firing"}')
        run_provider("fault", "add", "decrypt-broken", "--name", "broken", "--socket", supervised.endpoint, check=True)
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            sealed = client.encrypt(b"secret")
            with pytest.raises(Exception):
                client.decrypt(sealed)
        pid = supervised.healthy()["pid"]
        wait_for('mock_kms_calls_total{method="Decrypt", code!="OK"}')
        wait_for('count_over_time(mock_kms_calls_total{method="Decrypt", code!="OK"}[1m]) > 2')
        yield query, wait_for, supervised, targets, firing_before
    processes.remove(directory)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']}: {target['legendFormat']}", target["expr"].replace("$namespace", "kms-.*").replace("$__rate_interval", "1m")


@needs("prometheus")
@pytest.mark.parametrize("expression", [e for _, e in expressions()], ids=[name for name, _ in expressions()])
def test_every_query_of_the_dashboard_has_a_result(scraped, expression):
    assert scraped[1](expression)


@needs("prometheus")
def test_every_alert_finds_its_series_in_a_real_prometheus(scraped):
    query, wait_for, *_ = scraped
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            without_limit = re.sub(r"( (==|<|>|>=) \d+| unless count by .*)$", "", rule["expr"])
            assert wait_for(without_limit), rule["alert"]
    firing = {alert["metric"]["alertname"] for alert in wait_for('ALERTS{alertname="KmsDecryptErrors"}') + wait_for('ALERTS{alertname="KmsFaultInjected"}')}
    assert firing == {"KmsDecryptErrors", "KmsFaultInjected"}
    [lease] = query("kms_supervisor_lease_seconds")
    assert 170 < float(lease["value"][1]) <= 180 and lease["metric"]["exported_endpoint"].startswith("unix://")


@needs("prometheus")
def test_no_alert_fires_before_something_is_wrong(scraped):
    assert scraped[4] == []


@needs("promtool")
def test_names_units_and_types_are_what_prometheus_asks_for(scraped):
    _, _, supervised, targets, _ = scraped
    for target in targets.values():
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=DEADLINE) as answer:
            text = answer.read()
        result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
        assert result.returncode == 0 and not result.stderr, result.stderr.decode()
    assert len(targets) == 2
