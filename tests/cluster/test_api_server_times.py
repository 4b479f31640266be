"""The times of kube-apiserver's KMS v2 client, measured on the calls that providers without a supervisor get.

docs/kms-v2-rules.md has the table. KMS_CLUSTER_FIGURES=FILE keeps the figures.
"""

import concurrent.futures
import time

import pytest

from support import processes
from support.control_plane import IDENTITY, ControlPlane, kms, until
from support.lone_provider import LoneProvider

OUTAGES = [5, 20, 60, 120]  # seconds


def distances(times):
    return [round(b - a, 1) for a, b in zip(times, times[1:])]


@pytest.fixture(scope="module")
def plane():
    directory = processes.short_directory()
    made = ControlPlane(directory)
    yield made
    made.close()
    processes.remove(directory)


@pytest.fixture(scope="module")
def figures(plane, measured):
    names = ["healthy", "failing", "asked", "lease", "hanging", *(f"outage-{s}" for s in OUTAGES)]
    lone = {name: LoneProvider(plane, number, name) for number, name in enumerate(names)}
    plane.configure(*[([one.resource], [kms(name, one.endpoint), IDENTITY]) for name, one in lone.items()])
    found = {}
    try:
        plane.api.start()
        found["version"] = plane.api.request("GET", "/version").body["gitVersion"]
        for one in lone.values():
            plane.define(one.resource)
        for one in lone.values():
            plane.wait_defined(one.resource)
            assert one.write().ok
        # /readyz asks all plugins, so nobody asks it before the rest is measured.
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            work = {"healthy": poll_healthy, "failing": poll_failing, "lease": lease}
            futures = {name: pool.submit(work.get(name, outage), one) for name, one in lone.items() if name not in ("asked", "hanging")}
            for name, future in futures.items():
                found[name] = future.result()
        found["asked"], found["asked-failing"], found["hanging"] = poll_asked(lone["asked"]), poll_asked_failing(lone["asked"]), hanging(lone["hanging"])
        for name, value in found.items():
            measured(name, value)
    finally:
        for one in lone.values():
            one.program.__exit__()
    return found


def poll_healthy(one):
    time.sleep(200)
    return distances(one.calls()[-4:])


def poll_failing(one):
    """The healthy poll finds the fault, and the quick poll its end."""
    one.provider("fault", "add", "unavailable", "--method", "status")
    until(lambda: len(one.calls(code="UNAVAILABLE")) >= 6, 150, one.calls, pause=2)
    return distances(one.calls(code="UNAVAILABLE"))


def poll_asked(one):
    """/readyz is asked all the time."""
    before = len(one.calls())
    begin = time.monotonic()
    while time.monotonic() - begin < 90:
        assert not one.failure()
        time.sleep(0.3)
    return distances(one.calls()[before:])


def poll_asked_failing(one):
    one.provider("fault", "add", "unavailable", "--method", "status")
    until(one.failure, 30, "not ready")
    before = len(one.calls())
    begin = time.monotonic()
    while time.monotonic() - begin < 60:
        assert one.failure()
        time.sleep(0.3)
    return distances(one.calls()[before:])


def lease(one):
    """From the last good Status to the first write that fails."""
    last = one.calls(code="OK")[-1]
    one.provider("fault", "add", "unavailable")
    last = max(last, one.calls(code="OK")[-1])
    until(lambda: not one.write().ok, 260, "a write that fails", pause=0.5)
    failed = time.time()
    refused = one.write()
    assert not refused.ok
    one.provider("fault", "clear")
    until(lambda: one.write().ok, 60, "a write that works", pause=0.5)
    return {"from the last good Status, s": round(failed - last, 1), "after the end of the fault, s": round(time.time() - failed, 1), "error": refused.text}


def hanging(one):
    """The deadline of a call, as the client keeps it."""
    one.provider("fault", "add", "hang")
    until(one.failure, 60, "not ready", pause=0.5)
    time.sleep(3.5)  # longer than a bad result is kept
    begin = time.monotonic()
    text = one.failure()
    return {"/readyz after, s": round(time.monotonic() - begin, 1), "text": text}


def outage(one):
    """From the provider's new start to the API server's first call on it."""
    seconds = int(one.name.rpartition("-")[2])
    time.sleep(5)
    one.kill()
    time.sleep(seconds)
    one.start()
    begin = time.time()
    until(lambda: one.calls(), 200, "a call after the outage", pause=0.5)
    return round(one.calls()[0] - begin, 1)


def between(values, low, high):
    assert values and all(low <= value <= high for value in values), values


def test_status_is_called_once_a_minute_while_healthy(figures):
    between(figures["healthy"], 55, 66)


def test_status_is_called_every_ten_seconds_after_a_failure(figures):
    between(figures["failing"][1:], 8, 14)


def test_a_good_health_check_is_kept_for_20_seconds(figures):
    between([min(figures["asked"]), max(figures["asked"])], 0, 23)
    assert max(figures["asked"]) >= 15


def test_a_bad_health_check_is_kept_for_3_seconds(figures):
    between(figures["asked-failing"], 2.5, 7)


def test_a_call_ends_after_the_timeout_of_the_configuration(figures):
    between([figures["hanging"]["/readyz after, s"]], 2.5, 6)
    assert "DeadlineExceeded" in figures["hanging"]["text"]


def test_the_lease_is_three_minutes(figures):
    between([figures["lease"]["from the last good Status, s"]], 175, 190)


def test_the_client_comes_back_after_an_outage(figures):
    for seconds in OUTAGES:
        assert figures[f"outage-{seconds}"] <= 125
