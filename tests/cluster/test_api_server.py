"""A real kube-apiserver with a supervised plugin: what is in etcd, and what users notice of kills, rotations and reloads."""

import os
import signal
import socket
import threading
import time

from support.control_plane import IDENTITY, etcd_key, kms, until

PREFIX = b"k8s:enc:kms:v2:"
RELOAD = ["--encryption-provider-config-automatic-reload=true"]
POLL = 100  # seconds; the API server looks at Status and at its file every 60 s


def key_of(plane, plugin, name, resource="secrets"):
    """The key_id under which an object is stored, after the plugin decrypted it."""
    return plugin.inspect(etcd_key(name, resource), plane.stored(name, resource))["keyId"]


class Traffic:
    """Writes and reads new Secrets until it is left. `failures` has what went wrong."""

    def __init__(self, plane):
        self.plane, self.failures, self.names = plane, [], []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.is_set():
            name = f"traffic-{len(self.names)}"
            written, read = self.plane.create(name), self.plane.read(name)
            self.names.append(name)
            if not written.ok or read != "a secret":
                self.failures.append((name, written, read))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def test_a_secret_is_encrypted_in_etcd_and_readable_after_restarts_of_the_api_server(plane, start_plugin, measured):
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    begin = time.monotonic()
    plane.api.start()
    measured("API server: from start to ready, plugin running, s", round(time.monotonic() - begin, 1))
    assert plane.create("probe", "top secret").ok
    value = plane.stored("probe")
    assert value.startswith(PREFIX + b"mock-kms:") and b"top secret" not in value
    report = plugin.inspect(etcd_key("probe"), value)
    assert report["keyId"].startswith("default/v1/") and report["object"]["bytes"] > 0
    assert plane.create("plain", "not encrypted", "configmaps").ok
    assert b"not encrypted" in plane.stored("plain", "configmaps")
    for number in (signal.SIGTERM, signal.SIGKILL):
        plane.api.restart(number)
        assert plane.read("probe") == "top secret"
    plugin.provider("expect", "decrypt.OK >= 1 since start")


def test_no_read_or_write_fails_while_the_plugin_is_killed_stopped_and_restarted(plane, start_plugin, measured):
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.start()
    with Traffic(plane) as traffic:
        until(lambda: traffic.names, 60, "the first write")
        for _ in range(5):
            pid = plugin.status()["pid"]
            os.kill(pid, signal.SIGKILL)
            plugin.healthy_after(pid)
        killed = len(traffic.names)
        pid = plugin.status()["pid"]
        os.kill(pid, signal.SIGSTOP)
        plugin.healthy_after(pid)
        stopped = len(traffic.names)
        for _ in range(3):
            assert plugin.client("restart").returncode == 0
            plugin.healthy()
        until(lambda: len(traffic.names) > stopped, 60, "another write")
    assert traffic.failures == []
    measured("writes and reads during 5 kill -9, a SIGSTOP and 3 planned restarts; failures", (killed, stopped - killed, len(traffic.names) - stopped, 0))
    # An API server with an empty cache needs one Decrypt for each seed.
    plane.api.restart()
    assert [name for name in traffic.names if plane.read(name) != "a secret"] == []


def test_a_rotation_during_kills_reaches_the_api_server_and_old_values_stay_readable(plane, start_plugin, measured):
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.start()
    assert plane.create("old").ok and key_of(plane, plugin, "old").startswith("default/v1/")
    with Traffic(plane) as traffic:
        plugin.provider("rotate")
        begin = time.monotonic()
        pid = plugin.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        plugin.healthy_after(pid)

        def rotated():
            assert plane.create(f"new-{time.monotonic()}".replace(".", "-")).ok
            return key_of(plane, plugin, traffic.names[-1]).startswith("default/v2/")

        until(rotated, POLL, "a write under the new key", pause=1)
        measured("rotation seen by the API server after, s", round(time.monotonic() - begin, 1))
    assert traffic.failures == []
    assert plane.read("old") == "a secret"
    assert plane.rewrite("old").ok and key_of(plane, plugin, "old").startswith("default/v2/")
    plane.api.restart(signal.SIGKILL)
    assert plane.read("old") == "a secret" and plane.read(traffic.names[0]) == "a secret"


def test_data_migrates_from_one_instance_to_another_by_reloads(plane, start_plugin, measured):
    """identity, then the first instance, then the second one; no restart of the API server."""
    first, second = start_plugin("kms-1", ["--instance=one"]), start_plugin("kms-2", ["--instance=two"])
    plane.configure((["secrets"], [IDENTITY]))
    plane.api.options = RELOAD
    plane.api.start()
    assert plane.create("old", "older than the encryption").ok and not plane.stored("old").startswith(PREFIX)

    def switch(name, *providers):
        """Waits until a write is stored under the first provider."""
        plane.configure((["secrets"], list(providers)))
        begin, tries = time.monotonic(), []

        def reloaded():
            tries.append(f"{name}-{len(tries)}")
            assert plane.create(tries[-1]).ok
            return plane.stored(tries[-1]).startswith(PREFIX + name.encode() + b":")

        until(reloaded, POLL, name, pause=1)
        measured(f"reload of the EncryptionConfiguration ({name}) after, s", round(time.monotonic() - begin, 1))
        assert plane.rewrite("old").ok and plane.stored("old").startswith(PREFIX + name.encode() + b":")
        return tries

    of_first = switch("kms-1", first.kms, IDENTITY)
    of_second = switch("kms-2", second.kms, first.kms, IDENTITY)
    for name in of_first + of_second:
        assert plane.read(name) == "a secret" and plane.rewrite(name).ok
    assert not [key for key, value in plane.stored_under("/registry/secrets/").items() if value.startswith(PREFIX + b"kms-1:")]
    first.__exit__(None, None, None)
    plane.configure((["secrets"], [second.kms, IDENTITY]))
    plane.api.restart()
    assert plane.read("old") == "older than the encryption"
    assert key_of(plane, second, "old").startswith("two/v1/")
    assert [name for name in of_first + of_second if plane.read(name) != "a secret"] == []


def test_a_bad_configuration_is_not_loaded_and_the_old_one_goes_on(plane, start_plugin):
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.options = RELOAD
    plane.api.start()
    failures = ("apiserver_encryption_config_controller_automatic_reloads_total", {"status": "failure"})
    assert plane.api.metric(failures[0], **failures[1]) == 0
    plane.configure((["secrets"], [kms("nowhere", f"unix://{plane.directory}/nowhere.sock"), IDENTITY]))
    until(lambda: plane.api.metric(failures[0], **failures[1]) >= 1, POLL + 30, "a failed reload", pause=1)
    assert plane.create("meanwhile").ok and plane.stored("meanwhile").startswith(PREFIX + b"mock-kms:")


def test_all_resources_are_encrypted_and_a_cold_start_without_the_plugin_ends_with_it(plane, start_plugin, measured):
    """`*.*`, as a node whose API server starts before its plugin."""
    plugin = start_plugin()
    plane.configure((["*.*"], [plugin.kms, IDENTITY]))
    plane.api.start()
    assert plane.create("probe").ok and plane.create("map", resource="configmaps").ok
    stored = plane.stored_under("/registry/")
    left = {key.split("/")[2] for key, value in stored.items() if not value.startswith(PREFIX)}
    assert left <= {"masterleases", "ranges", "peerserverleases"}, left  # not objects of the API
    measured("objects in etcd under *.*", sum(value.startswith(PREFIX) for value in stored.values()))
    plugin.client("stop")
    plane.api.restart(signal.SIGKILL, wait=False)
    until(lambda: plane.api.ready().code not in (0, 200), 120, lambda: plane.api.ready())
    time.sleep(3)  # it goes on failing
    assert plane.api.ready().code != 200
    plugin.client("start")
    begin = time.monotonic()
    plane.api.wait_ready()
    measured("API server cold under *.*: ready after the plugin's start, s", round(time.monotonic() - begin, 1))
    assert plane.read("probe") == "a secret" and plane.read("map", "configmaps") == "a secret"


# --- rows of docs/troubleshooting.md


def test_the_api_server_names_a_missing_path_and_a_path_that_nobody_serves(plane, start_plugin):
    plugin = start_plugin()
    left = plane.directory / "left.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
    missing = f"unix://{plane.directory}/no-such-directory/kms.sock"
    plane.configure((["secrets"], [plugin.kms, IDENTITY]), (["configmaps"], [kms("missing", missing), IDENTITY]),
                    (["resourcequotas"], [kms("left", f"unix://{left}"), IDENTITY]))
    plane.api.start(wait=False)
    plane.api.wait_namespace()
    until(lambda: plane.api.ready("kms-providers").code == 500, 240, lambda: plane.api.ready(), pause=1)
    failures = plane.api.kms_failures()
    assert set(failures) == {1, 2}, failures
    assert "no such file or directory" in failures[1] and "connection refused" in failures[2] and "DeadlineExceeded" in failures[2]
    refused = plane.create("map", resource="configmaps", timeout=30)
    assert not refused.ok
    assert plane.create("probe").ok


def test_an_api_server_that_is_not_root_needs_a_socket_of_its_own_user(plane, start_plugin):
    refusing, serving = start_plugin("refusing"), start_plugin("serving", options=["--socket-owner=65534:65534"])
    for path in (plane.directory, *plane.directory.rglob("*")):
        if not path.is_socket():
            path.chmod(0o755)
    plane.configure((["secrets"], [serving.kms, IDENTITY]), (["configmaps"], [refusing.kms, IDENTITY]))
    plane.api.wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    plane.api.start(wait=False)
    plane.api.wait_namespace()
    until(lambda: plane.api.ready("kms-providers").code == 500, 240, lambda: plane.api.ready(), pause=1)
    failures = plane.api.kms_failures()
    assert set(failures) == {1} and "permission denied" in failures[1]
    assert plane.create("probe").ok and plane.stored("probe").startswith(PREFIX + b"serving:")


def test_a_changed_seed_makes_values_unreadable_until_the_old_one_is_back(plane, start_plugin):
    seed = plane.directory / "seed"
    seed.write_bytes(os.urandom(32))
    plugin = start_plugin("first", [f"--seed-file={seed}"])
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.start()
    assert plane.create("probe").ok
    kept = seed.read_bytes()

    def restart(content):
        seed.write_bytes(content)
        assert plugin.client("restart").returncode == 0
        plugin.healthy()
        plane.api.restart(signal.SIGKILL, wait=False)

    restart(os.urandom(32))
    until(lambda: plane.api.ready("ping").ok, 120, lambda: plane.api.ready())
    until(lambda: "belongs to another seed" in repr(plane.read("probe", timeout=30)), 90, lambda: plane.read("probe", timeout=30), pause=1)
    restart(kept)
    until(lambda: plane.read("probe", timeout=30) == "a secret", 120, lambda: plane.api.ready(), pause=1)


def test_a_paused_plugin_shows_as_deadline_exceeded_and_comes_back(plane, start_plugin):
    plugin = start_plugin()
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.start()
    assert plane.create("probe").ok
    assert plugin.client("stop").returncode == 0
    until(lambda: "DeadlineExceeded" in str(plane.api.kms_failures()), 60, lambda: plane.api.kms_failures(), pause=1)
    assert plane.create("meanwhile").ok  # by the lease
    assert plugin.client("start").returncode == 0
    until(lambda: not plane.api.kms_failures(), 150, lambda: plane.api.kms_failures(), pause=1)


KMS_V1 = ["--feature-gates=KMSv1=true"]


def test_objects_migrate_from_kms_v1_to_v2_by_a_provider_that_serves_both(plane, start_plugin):
    plugin = start_plugin("new", ["--kms-v1"])
    old = kms("old", plugin.endpoint, version="v1")
    plane.configure((["secrets"], [old, IDENTITY]))
    plane.api.options = KMS_V1
    plane.api.start()
    assert plane.create("probe", "from v1 to v2").ok
    assert plane.stored("probe").startswith(b"k8s:enc:kms:v1:old:")
    assert plugin.inspect(etcd_key("probe"), plane.stored("probe"))["keyId"].startswith("default/v1/")
    plugin.provider("rotate")
    plane.configure((["secrets"], [plugin.kms, old, IDENTITY]))
    plane.api.restart(signal.SIGKILL)
    assert plane.read("probe") == "from v1 to v2"
    assert plane.rewrite("probe").ok and plane.stored("probe").startswith(PREFIX + b"new:")
    assert key_of(plane, plugin, "probe").startswith("default/v2/")
    plane.configure((["secrets"], [plugin.kms, IDENTITY]))
    plane.api.options = []
    plane.api.restart()
    assert plane.read("probe") == "from v1 to v2"


def test_an_api_server_for_kms_v1_says_that_the_provider_serves_v2(plane, start_plugin):
    plugin = start_plugin()
    plane.configure((["secrets"], [kms("old", plugin.endpoint, version="v1"), IDENTITY]))
    plane.api.options = KMS_V1
    plane.api.start(wait=False)
    plane.api.wait_namespace()
    refused = plane.create("probe")
    assert not refused.ok and "this plugin serves KMS v2; set apiVersion: v2 in the EncryptionConfiguration" in refused.text
    plugin.program.wait_for_line("this plugin serves KMS v2")
    assert "this plugin serves KMS v2" in plugin.provider("journal", "-o", "json") or "Other" in plugin.provider("journal", "--counts")
