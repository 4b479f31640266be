"""`supervisor report` of the evidence of real supervisors, with kills, a hang, faults and rotations, and of damaged evidence."""

import contextlib
import html.parser
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import grpc
import pytest

from support import processes
from support.kms_client import KmsClient
from support.processes import DEADLINE, binary, run_provider
from support.supervised import Supervised

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("status.json", "events.json", "journal.json", "counts.txt", "provider-metrics.txt", "supervisor-metrics.txt", "build-info.json",
         "build-plugin.log", "supervisor.log")
HOSTILE = "\"><img src=x onerror=alert(1)>'\u202e"


def report(*arguments, stdin=b"", code=0):
    result = subprocess.run([binary("supervisor"), "report", *map(str, arguments)], input=stdin, capture_output=True, timeout=DEADLINE)
    assert result.returncode == code, result.stderr.decode()
    return result


def report_json(*arguments):
    return json.loads(report("-o", "json", *arguments).stdout)


def collect(pod, supervised):
    """Keeps the evidence as manifests/step-templates/cleanup.in does: stdout and stderr in one file."""
    pod.mkdir(parents=True)
    supervisor = [binary("supervisor"), f"--control-socket={supervised.control}"]
    provider = [binary("mock-kms-provider")]
    socket = ["--socket", supervised.endpoint]
    for name, command in {
        "status.json": [*supervisor, "status", "-o", "json"], "events.json": [*supervisor, "events", "-o", "json"],
        "journal.json": [*provider, "journal", "-o", "json", *socket], "counts.txt": [*provider, "journal", "--counts", *socket],
        "provider-metrics.txt": [*provider, "metrics", *socket], "supervisor-metrics.txt": [*supervisor, "metrics"],
    }.items():
        with open(pod / name, "wb") as file:
            subprocess.run(command, stdout=file, stderr=file, timeout=DEADLINE, check=False)
    (pod / "build-info.json").write_text(json.dumps({"repository": "https://git.test/plugin.git", "ref": "main", "commit": "c0ffee" * 6 + "abcd"}))
    (pod / "build-plugin.log").write_text('2026-01-01T00:00:00.000Z info    builder: phase done phase=publish duration="44.3 ms"\n')
    (pod / "supervisor.log").write_text("".join(line + "\n" for line in supervised.program.stderr))


def fault(supervised, *arguments):
    run_provider("fault", *arguments, "--socket", supervised.endpoint, check=True)


def make_history(nodes):
    """master-0: a fault. master-1: a kill, a hang, and a crash by a fault. master-2: a rotation and a pause."""
    zero, one, two = nodes
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(KmsClient(node.endpoint, timeout=DEADLINE)) for node in nodes]
        for client in clients:
            for _ in range(5):
                client.decrypt(client.encrypt(b"secret"))
        fault(zero, "add", "decrypt-broken", "--name", "broken")
        sealed = clients[0].encrypt(b"secret")
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                clients[0].decrypt(sealed)
        fault(zero, "clear", "broken")
        clients[0].decrypt(sealed)
        for kill in (lambda pid: os.kill(pid, signal.SIGKILL), processes.stop_threads):
            pid = one.healthy()["pid"]
            kill(pid)
            one.healthy_after(pid)
        run_provider("rotate", "--socket", two.endpoint, check=True)
        with KmsClient(two.endpoint, timeout=DEADLINE) as client:
            client.decrypt(client.encrypt(b"secret"))
        assert two.client("stop").returncode == 0
        assert two.client("start").returncode == 0
        for node in nodes:
            node.healthy()
        run_provider("rotate", "--socket", two.endpoint, check=True)
        two.program.wait_for_line("the plugin names another key")


@pytest.fixture(scope="module")
def evidence():
    """The directory that the cleanup step would fill, for three nodes with a history."""
    directory = processes.short_directory()
    with contextlib.ExitStack() as stack:
        nodes = []
        for i in range(3):
            place = directory / f"n{i}"
            place.mkdir()
            nodes.append(stack.enter_context(Supervised(place, options=["--probe-interval=100ms", "--probe-timeout=300ms", "--hang-grace=100ms"],
                                                        env={"NODE_NAME": f"master-{i}"})))
        for node in nodes:
            node.healthy()
        make_history(nodes)
        for i, node in enumerate(nodes):
            collect(directory / f"evidence/master-{i}/mock-kms-plugin-{i}", node)
        (directory / "evidence/events.txt").write_text("LAST SEEN   TYPE   REASON   OBJECT   MESSAGE\n1s   Warning   BackOff   pod   back-off\n")
        yield directory / "evidence"
    processes.remove(directory)


@pytest.fixture
def copy(evidence, tmp_path):
    shutil.copytree(evidence, tmp_path / "evidence")
    return tmp_path / "evidence"


def at(text):
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + text[19:-1])


# --- the timeline


def test_the_verdict_names_outages_failed_calls_and_differences(evidence):
    text = report(evidence).stdout.decode()
    verdict = text.splitlines()[0]
    assert verdict.startswith("All 3 plugins are healthy; 2 outages (the longest ")
    assert " on master-1: no answer to 3 probes in a row" in verdict
    assert re.search(r"; 3 of \d+ recorded calls failed by injected faults; the nodes differ in key_id", verdict)
    assert text.count("\n  outage ") == 2 and "SIGKILL" in text


def test_the_timeline_is_merged_in_the_order_of_time_and_has_every_event(evidence):
    merged = report_json(evidence)
    times = [entry["at"] for entry in merged["timeline"]]
    assert [at(t) for t in times] == sorted(at(t) for t in times)
    for node in ("master-0", "master-1", "master-2"):
        events = [json.loads(line) for line in next(evidence.glob(f"{node}/*/events.json")).read_text().splitlines()]
        merged_events = [e for e in merged["timeline"] if e["plugin"] == node]
        for event in events:
            assert any(e["kind"] == event["kind"] and e["text"] == event["text"] and e["details"] == event["details"] for e in merged_events)


def test_the_states_of_each_node_follow_each_other_without_a_gap(evidence):
    for plugin in report_json(evidence)["plugins"]:
        states = plugin["states"]
        assert states[-1]["open"] and states[-1]["kind"] == "serving"
        assert all(a["to"] == b["from"] for a, b in zip(states, states[1:])), states


def test_outages_have_their_cause_and_the_length_that_the_supervisor_measured(evidence):
    merged = report_json(evidence)
    kill, hang = merged["outages"]
    assert (kill["plugin"], hang["plugin"]) == ("master-1", "master-1") and not kill["open"] and not hang["open"]
    assert "SIGKILL" in kill["cause"] and hang["cause"].startswith("no answer to 3 probes")
    exits = json.loads(next(evidence.glob("master-1/*/status.json")).read_text())["exits"]
    for outage, measured in ((kill, exits[1]), (hang, exits[0])):
        assert float(outage["length"].rstrip("s")) == pytest.approx(float(measured["outage"].rstrip("s")), abs=0.06)
    kinds = [state["kind"] for state in merged["plugins"][1]["states"]]
    assert kinds == ["starting", "serving", "outage", "serving", "unresponsive", "serving"]


def test_a_pause_is_no_outage_and_the_lease_runs_down_meanwhile(evidence):
    plugin = report_json(evidence)["plugins"][2]
    assert "paused" in [state["kind"] for state in plugin["states"]]
    assert 170 < float(plugin["lowestLease"].rstrip("s")) < 180


def test_rotations_and_faults_are_spans_with_begin_and_end(evidence):
    merged = report_json(evidence)
    [span] = merged["plugins"][0]["faults"]
    assert span["kind"] == "broken" and not span["open"] and at(span["from"]) <= at(span["to"])
    keys = [key["kind"] for key in merged["plugins"][2]["keys"]]
    assert [key.split("/")[1] for key in keys] == ["v1", "v2", "v1", "v2"]
    [group] = [g for g in merged["failedCalls"] if g["plugin"] == "master-0"]
    assert (group["method"], group["calls"], group["fault"]) == ("Decrypt", 3, "broken")


def test_changes_that_only_the_log_remembers_are_in_the_timeline(evidence):
    """The pause ended the process that was rotated, and with it the journal."""
    entries = [e for e in report_json(evidence)["timeline"] if e["plugin"] == "master-2" and e["kind"] == "ROTATION"]
    assert entries and "from version 1 to default/v2/" in entries[0]["text"]


def test_events_that_events_json_has_dropped_come_from_the_logs(copy):
    [events] = copy.glob("master-1/*/events.json")
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(lines[-2:]))
    whole = [(e["kind"], e["text"], e["details"]) for e in report_json(copy)["timeline"] if e["plugin"] == "master-1" and e["kind"] not in ("FAULT", "ROTATION")]
    assert whole == [(e["kind"], e["text"], e["details"]) for e in map(json.loads, lines)]


def test_live_asks_running_supervisors(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        run_provider("fault", "add", "unhealthy", "--name", "live-fault", "--socket", supervised.endpoint, check=True)
        merged = json.loads(report("-o", "json", "--live", supervised.control).stdout)
        assert [f["kind"] for f in merged["plugins"][0]["faults"]] == ["live-fault"]
        assert merged["plugins"][0]["calls"] and merged["plugins"][0]["reported"]
        nobody = f"unix://{directory}/none.sock"
        partial = json.loads(report("-o", "json", "--live", supervised.control, nobody, supervised.control).stdout)
        assert len(partial["plugins"]) == 1 and [p["file"] for p in partial["problems"]] == [nobody]
        result = supervised.client("report", "--live", "--output", "-")
        assert result.stdout.startswith("<!DOCTYPE html>"), result.stderr
    report("--live", f"unix://{directory}/none.sock", code=3)


# --- damaged evidence


def test_every_damaged_or_missing_file_is_named_and_the_rest_is_used(copy):
    [pod] = copy.glob("master-0/*")
    (pod / "status.json").write_text("supervisor: cannot reach a supervisor on unix:///run/mock-kms/supervisor.sock: Connection refused\n")
    (pod / "journal.json").write_bytes((pod / "journal.json").read_bytes()[:-20] + b"\xff\n")
    (pod / "provider-metrics.txt").write_bytes(b"\x00\x01binary")
    (pod / "build-info.json").write_text("cat: /plugin/build-info.json: No such file or directory\n")
    (pod / "counts.txt").unlink()
    (pod / "events.json").write_text("")
    merged = report_json(copy)
    problems = {p["file"].split("/")[-1]: p["text"] for p in merged["problems"]}
    assert set(problems) == {"status.json", "journal.json", "provider-metrics.txt", "build-info.json", "counts.txt"}
    assert "Connection refused" in problems["status.json"] and problems["counts.txt"] == "is missing"
    assert re.match(r"1 of its \d+ lines are damaged", problems["journal.json"])
    assert merged["severity"] == "BAD" and "1 of 3 plugins is not healthy (master-0: no supervisor reported a status)" in merged["verdict"]
    assert merged["plugins"][0]["calls"], "the rest of the journal is used"
    assert "events.json" not in problems and [s["kind"] for s in merged["plugins"][0]["states"]], "the log stands in for it"


@pytest.mark.parametrize("name", FILES)
def test_no_cut_of_a_file_is_fatal(copy, name):
    for path in copy.glob(f"*/*/{name}"):
        content = path.read_bytes()
        for length in (0, 1, len(content) // 3, len(content) - 2):
            path.write_bytes(content[:max(0, length)])
            assert report(copy).stdout
        path.write_bytes(content)


def test_logs_and_counters_that_are_errors_are_named(copy):
    [pod] = copy.glob("master-0/*")
    (pod / "supervisor.log").write_text("error: container supervisor not found\n")
    (pod / "counts.txt").write_text("mock-kms-provider: no answer\n")
    problems = {p["file"].split("/")[-1]: p["text"] for p in report_json(copy)["problems"]}
    assert set(problems) == {"supervisor.log", "counts.txt"}
    assert "container supervisor not found" in problems["supervisor.log"]


def test_a_link_to_a_directory_is_followed_and_a_circle_ends(copy, tmp_path):
    expected = report_json(copy)
    linked = tmp_path / "linked"
    linked.mkdir()
    for node in copy.iterdir():
        (linked / node.name).symlink_to(node) if node.is_dir() else shutil.copy(node, linked)
    (linked / "circle").symlink_to(linked)
    assert report_json(linked)["plugins"] == expected["plugins"]


def test_a_page_that_cannot_be_written_leaves_the_one_before(copy, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("the page before")
    small = ["sh", "-c", 'trap "" XFSZ; ulimit -f 4; exec "$@"', "sh"]
    result = subprocess.run([*small, binary("supervisor"), "report", copy, "--output", page], capture_output=True, text=True)
    assert result.returncode == 1 and re.search("cannot write .*: File too large; name a file", result.stderr), result.stderr
    assert page.read_text() == "the page before" and [p.name for p in tmp_path.iterdir() if p.name.startswith("report")] == ["report.html"]
    assert b"name a file in a directory" in report(copy, "--output", tmp_path / "none/report.html", code=1).stderr


def test_two_archives_with_the_same_paths_are_two_plugins(copy, tmp_path):
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(archive_of(copy))
    names = [p["name"] for p in report_json(tmp_path / "a.tar", tmp_path / "b.tar")["plugins"]]
    assert len(names) == 6 and len(set(names)) == 6


def test_nothing_to_read_is_an_error_of_the_input(tmp_path):
    assert b"there is no evidence" in report(tmp_path, code=2).stderr
    assert b"name a directory" in report(tmp_path / "no-such", code=2).stderr
    assert b"is not a tar archive" in report("-", stdin=b"not an archive" * 100, code=2).stderr
    assert b"nothing names the evidence" in report(code=2).stderr


def test_a_build_that_failed_is_the_reason_of_its_node(tmp_path):
    pod = tmp_path / "no-node/mock-kms-plugin-x"
    pod.mkdir(parents=True)
    (pod / "build-plugin.log").write_text("error: undeclared\nbuilder: compile: cannot compile mock-kms-provider: main.cc:1; fix it\n")
    (pod / "status.json").write_text('error: unable to upgrade connection: container not found ("supervisor")\n')
    assert "no-node: builder: compile: cannot compile mock-kms-provider" in report_json(tmp_path)["verdict"]


def archive_of(directory, kind=tarfile.GNU_FORMAT):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=kind) as archive:
        archive.add(directory, arcname=".")
    return made.getvalue()


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT], ids=["gnu", "pax", "ustar"])
def test_a_tar_archive_gives_the_same_report(copy, kind, tmp_path):
    if kind != tarfile.USTAR_FORMAT:
        (copy / "master-0").rename(copy / ("long-" * 30))
    archive = archive_of(copy, kind)
    expected = report_json(copy)
    assert json.loads(report("-o", "json", "-", stdin=archive).stdout) == expected
    (tmp_path / "evidence.tar").write_bytes(archive)
    assert report_json(tmp_path / "evidence.tar") == expected
    assert b"cut off" in report("-", stdin=archive[:len(archive) // 2 + 7], code=2).stderr


# --- the page


def test_the_page_of_a_long_job_is_small(tmp_path):
    sys.path.insert(0, str(ROOT / "bench"))
    from runner import report as bench_report  # its figures are in docs/benchmarks.md
    bench_report.write_evidence(tmp_path / "evidence")
    report(tmp_path / "evidence", "--output", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_bytes()
    assert len(page) < 2_000_000
    assert page.count(b"s-outage") > 500 and page.count(b"<details") >= 2
    merged = report_json(tmp_path / "evidence")
    assert len(merged["outages"]) == 600 and sum(len(p["calls"]) for p in merged["plugins"]) <= 3 * 121


def hostile_copy(copy):
    """Names, texts and key ids that try to leave their place."""
    [pod] = copy.glob("master-0/*")
    for name in ("status.json", "events.json", "journal.json"):
        text = (pod / name).read_text()
        text = text.replace("default/v1/", json.dumps(f"</title><script>alert(2)</script>{HOSTILE}")[1:-1] + "/v1/")
        (pod / name).write_text(text.replace("the plugin is ready", json.dumps(f"ready </svg></script>{HOSTILE}")[1:-1]))
    with open(pod / "supervisor.log", "ab") as log:
        log.write(b'2020-01-01T00:00:00.000Z info    supervisor: the plugin ended <img src=x onerror=alert(3)> \xff\x00 pid=3 cause="<script>alert(4)</script>"\n')
    (copy / "events.txt").write_text(f"<script>alert(5)</script>{HOSTILE}\n")
    (copy / "master-0").rename(copy / HOSTILE)
    return copy


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_texts_are_only_text(copy):
    page = report(hostile_copy(copy), "--output", "-").stdout.decode()
    elements = Elements()
    elements.feed(page)
    assert "img" not in elements.tags and elements.tags.count("script") == 1
    assert not [name for name in elements.attributes if name.startswith("on")]
    assert "\u202e" not in page and "\\xe2\\x80\\xae" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page)


def test_the_page_names_nothing_outside_of_itself(evidence):
    page = report(evidence, "--output", "-").stdout.decode()
    assert not re.search(r"""(src|href)=["'](?!#)|url\((?!#)|@import|https?://(?!git\.test)""", page)


def npm(package, directory):
    subprocess.run(["bash", "-c", f". scripts/setup.sh; get_npm {package} {directory}"], cwd=ROOT, check=True, timeout=300)
    return ROOT / "build/npm" / directory


def needs(program):
    """Skips a test where a program is not installed, but in CI, which leaves nothing out."""
    return pytest.mark.skipif(shutil.which(program) is None and not os.environ.get("CI"), reason=f"{program} is not installed")


def browse(page):
    """Returns what headless Chromium sees on the page. REPORT_SCREENSHOTS names a directory that gets pictures."""
    playwright, axe = npm("playwright-core@1.65.1", "playwright-core"), npm("axe-core@4.14.1", "axe-core")
    result = subprocess.run(["node", ROOT / "tests/end_to_end/report_page.mjs", playwright, axe / "axe.min.js", page,
                             os.environ.get("REPORT_SCREENSHOTS", "")], capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def seen(evidence):
    page = evidence.parent / "report.html"
    report(evidence, "--output", page)
    return browse(page)


@needs("chromium")
def test_the_browser_asks_for_nothing_and_finds_no_error(seen):
    assert seen["requests"] == [] and seen["errors"] == [] and seen["dialogs"] == []


@needs("chromium")
@pytest.mark.parametrize("view", ["1280 light", "1280 dark", "390 light", "390 dark"])
def test_the_page_fits_its_screen_on_one_time_axis_without_violations_of_axe(seen, view):
    width, scheme = view.split()
    facts = seen["views"][view]
    assert facts["width"] == int(width) and facts["outside"] == 0
    assert len({tuple(round(x) for x in axis) for axis in facts["axes"]}) == 1
    brightness = sum(map(int, re.findall(r"\d+", facts["background"])[:3]))
    assert brightness > 600 if scheme == "light" else brightness < 150
    if width == "1280":
        assert facts["first_lane_top"] < 560, "the first node is on the first screen"
    assert facts["axe"] == []


@needs("chromium")
def test_each_mark_tells_its_time_on_hover_and_by_keyboard(seen):
    assert re.search(r"^(outage|unresponsive), \d\d:\d\d:\d\d\.\d{3} to .* UTC, .*\n.*local time$", seen["hover"], re.S)
    assert seen["hover_inside"] and seen["after_hover"] is None and seen["escape"] is None
    assert seen["focus"].startswith(("starting, ", "serving, ")) and seen["arrow"] != seen["focus"]
    assert seen["home"] == seen["focus"] and "the end of the evidence" in seen["end"]
    assert set(seen["stops"]) <= {0, 1}, "the tab key stops once at each track"
    assert seen["time_title"].endswith("local time")


@needs("chromium")
def test_the_events_can_be_filtered_and_printing_opens_every_table(seen):
    assert 0 < seen["rows_of_plugin"] < seen["rows"] and seen["rows_of_word"] == 0
    assert seen["shown"] == f"0 of {seen['rows']}"
    assert seen["print_overflow"] == 0 and seen["print_closed"] == 0


@needs("chromium")
def test_the_page_is_whole_without_scripts(seen):
    facts = seen["without_script"]
    assert facts["titles"] == facts["marks"] > 10 and not facts["filters"]
    assert facts["rows"] == seen["rows"] and facts["tables"] >= 7


@needs("chromium")
def test_hostile_texts_run_nothing_in_the_browser(copy, tmp_path):
    page = tmp_path / "report.html"
    report(hostile_copy(copy), "--output", page)
    facts = browse(page)
    assert facts["dialogs"] == [] and facts["errors"] == [] and facts["requests"] == []
    for view in facts["views"].values():
        assert view["images"] == 0 and view["scripts"] == 1 and view["axe"] == [] and view["outside"] == 0


@needs("java")
def test_the_validator_finds_no_error(evidence, copy, tmp_path):
    report(evidence, "--output", tmp_path / "plain.html")
    report(hostile_copy(copy), "--output", tmp_path / "hostile.html")
    (tmp_path / "empty/node/pod").mkdir(parents=True)
    (tmp_path / "empty/node/pod/status.json").write_text("")
    report(tmp_path / "empty", "--output", tmp_path / "empty.html")
    jar = npm("vnu-jar@26.9.27", "vnu") / "build/dist/vnu.jar"
    result = subprocess.run(["java", "-jar", jar, *tmp_path.glob("*.html")], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and not result.stderr, result.stderr
