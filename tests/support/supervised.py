"""A plugin under `supervisor run`, and test plugins with behaviour that the real one does not have."""

import json
import signal
import subprocess
import textwrap

from support.processes import DEADLINE, Program, binary

PYTHON = "/usr/bin/python3"


class Supervised:
    """A running `supervisor run` and the means to ask it."""

    wait = "20s"  # how long healthy() waits

    def __init__(self, directory, command=None, options=(), socket_uri=None, env=None):
        self.endpoint = socket_uri or f"unix://{directory}/kms.sock"
        self.control = f"unix://{directory}/control.sock"
        command = command or [binary("mock-kms-provider"), "serve", f"--listen-addr={self.endpoint}"]
        self.program = Program(
            binary("supervisor"), f"--control-socket={self.control}", "--log-level=debug",
            "run", f"--socket={self.endpoint}", *options, "--", *command, env=env,
        )

    def client(self, *command):
        """The end of `supervisor COMMAND...` against this one."""
        return subprocess.run([binary("supervisor"), f"--control-socket={self.control}", *command],
                              capture_output=True, text=True, timeout=DEADLINE * 3)

    def status_run(self, *arguments):
        return self.client("status", *arguments)

    def status(self, *arguments):
        result = self.status_run("-o", "json", *arguments)
        assert result.stdout, result.stderr
        return json.loads(result.stdout)

    def healthy(self):
        result = self.status_run(f"--wait={self.wait}", "-o", "json")
        assert result.returncode == 0, (result.stdout, result.stderr, self.program.stderr)
        return json.loads(result.stdout)

    def healthy_after(self, old_pid):
        """The first healthy status of another process than `old_pid`."""
        self.program.wait_for_line("the plugin ended pid=%d " % old_pid)
        status = self.healthy()
        assert status["pid"] != old_pid
        return status

    def __enter__(self):
        self.program.__enter__()
        return self

    def __exit__(self, *exc):
        if self.program.process.poll() is None:
            self.program.send(signal.SIGTERM)
            try:
                self.program.wait()
            except subprocess.TimeoutExpired:
                pass
        self.program.__exit__(*exc)


def script(directory, text, name="plugin.py"):
    """A test plugin with behaviour that the real one does not have."""
    path = directory / name
    path.write_text(textwrap.dedent(text))
    return [PYTHON, str(path)]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


PLUGIN_WITH_ERRORS = """
    import concurrent.futures, sys, grpc
    from proto import kms_v2_pb2 as v2, kms_v2_pb2_grpc
    class Plugin(kms_v2_pb2_grpc.KeyManagementServiceServicer):
        def Status(self, request, context):
            healthz = open(sys.argv[2]).read()
            if healthz.startswith("!"):
                context.abort(getattr(grpc.StatusCode, healthz[1:]), "injected")
            return v2.StatusResponse(version="v2", healthz=healthz, key_id="key-1")
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    kms_v2_pb2_grpc.add_KeyManagementServiceServicer_to_server(Plugin(), server)
    server.add_insecure_port("unix:" + sys.argv[1])
    server.start()
    server.wait_for_termination()
    """
