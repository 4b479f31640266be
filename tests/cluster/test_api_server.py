"""A real kube-apiserver with a supervised plugin: what is in etcd, and what users notice of kills, rotations and reloads."""

import os
import signal
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


def test_an_api_server_that_may_not_open_the_socket_names_it(plane, start_plugin):
    """A missing path, and a path that nobody serves, as troubleshooting.md describes them."""
    plugin = start_plugin()
    missing = f"unix://{plane.directory}/no-such-directory/kms.sock"
    plane.configure((["secrets"], [plugin.kms, IDENTITY]), (["configmaps"], [kms("missing", missing), IDENTITY]))
    plane.api.start(wait=False)
    try:
        until(lambda: plane.api.ready("kms-providers").code == 500, 240, lambda: plane.api.ready(), pause=1)
        failures = plane.api.kms_failures()
        print(failures)
        assert set(failures) == {1} and "no such file or directory" in failures[1]
        refused = plane.create("map", resource="configmaps", timeout=30)
        assert not refused.ok
        assert plane.create("probe").ok
    finally:
        plane.api.stop(signal.SIGKILL)
