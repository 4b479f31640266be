"""`supervisor check` against plugins of other makes: wrong ones, hanging ones, dying ones, and ones that are no plugin."""

import contextlib
import json
import resource
import socket
import threading

import pytest

from support.processes import DEADLINE, SANITIZED, Program, run
from support.supervised import script

HASTY = "--timeout=500ms"  # for plugins that never answer

SEVERAL_RULES_BROKEN = """
    import concurrent.futures, sys, threading, grpc
    from proto import kms_v2_pb2 as v2, kms_v2_pb2_grpc
    class Plugin(kms_v2_pb2_grpc.KeyManagementServiceServicer):
        def Status(self, request, context):
            threading.Event().wait(0.01)  # so that calls which are sent at once are there at once
            return v2.StatusResponse(version="v2beta1", healthz="ok", key_id="key-1")
        def Encrypt(self, request, context):
            return v2.EncryptResponse(ciphertext=request.plaintext[::-1], key_id="key-1",
                                      annotations={"Version": b"1", "seed.example.org": request.plaintext})
        def Decrypt(self, request, context):
            return v2.DecryptResponse(plaintext=request.ciphertext[::-1])
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), maximum_concurrent_rpcs=4)
    kms_v2_pb2_grpc.add_KeyManagementServiceServicer_to_server(Plugin(), server)
    server.add_insecure_port("unix:" + sys.argv[1])
    server.start()
    print("ready", file=sys.stderr, flush=True)
    server.wait_for_termination()
    """

# An argument tells each method to "hang", to be "large" or to "die"; no method gives a real answer.
HOSTILE = """
    import concurrent.futures, os, sys, threading, grpc
    def method(request, context):
        if sys.argv[2] == "hang":
            threading.Event().wait()
        if sys.argv[2] == "die":
            os._exit(1)
        return bytes(100 << 20) if sys.argv[2] == "large" else os.urandom(1000)
    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(method)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers([Handler()])
    server.add_insecure_port("unix:" + sys.argv[1])
    server.start()
    print("ready", file=sys.stderr, flush=True)
    server.wait_for_termination()
    """


@pytest.fixture
def start_plugin(directory):
    with contextlib.ExitStack() as stack:

        def start(text, *args):
            program = stack.enter_context(Program(*script(directory, text), f"{directory}/kms.sock", *args))
            program.wait_for_line("ready")

        yield start


def check(endpoint, *args, **popen):
    """The exit code, and {"12 MUST": (verdict, seen)}."""
    done = run("supervisor", "check", endpoint, "-o", "json", *args, timeout=4 * DEADLINE, **popen)
    assert done.stdout and done.returncode in (0, 1), (done.returncode, done.stderr)
    results = json.loads(done.stdout)["results"]
    return done.returncode, {f"{r['rule']} {r['level']}": (r["verdict"], r["seen"]) for r in results}


def failed(results):
    return {rule for rule, (verdict, _) in results.items() if verdict == "FAIL"}


def test_a_plugin_of_a_few_lines_breaks_several_rules(start_plugin, endpoint):
    start_plugin(SEVERAL_RULES_BROKEN)
    code, results = check(endpoint, "--timeout=20s")
    assert code == 1
    assert failed(results) == {"5 MUST", "10 SHOULD", "23 MUST", "24 SHOULD", "25 SHOULD"}
    assert results["23 MUST"][1] == "the key 'Version' is not a domain name"
    assert results["26 SHOULD"] == ("NOT_APPLICABLE", "Encrypt breaks rule 23")
    assert "Concurrent RPC limit exceeded" in results["5 MUST"][1]


def test_without_its_annotations_it_breaks_the_rules_about_ciphertexts(start_plugin, endpoint):
    text = SEVERAL_RULES_BROKEN.replace('{"Version": b"1", "seed.example.org": request.plaintext}', "{}")
    start_plugin(text.replace(", maximum_concurrent_rpcs=4", ""))
    code, results = check(endpoint, "--timeout=20s")
    assert code == 0
    assert failed(results) == {"10 SHOULD", "25 SHOULD", "26 SHOULD", "30 SHOULD"}


def test_a_plugin_that_hangs_costs_one_deadline_a_method(start_plugin, endpoint):
    start_plugin(HOSTILE, "hang")
    code, results = check(endpoint, HASTY)
    assert (code, failed(results)) == (1, {"4 MUST"})
    assert results["4 MUST"][1] == "Status: no answer within 500ms"


def test_a_plugin_that_dies_under_the_first_call_is_named(start_plugin, endpoint):
    start_plugin(HOSTILE, "die")
    code, results = check(endpoint, "--timeout=3s")
    assert code == 1
    assert "1 MUST" in failed(results)
    # A connection can still be had while the dying process' socket is not closed.
    causes = ("cannot connect to", "Socket closed", "Connection reset", "Broken pipe")
    assert any(cause in results["1 MUST"][1] for cause in causes), results["1 MUST"]


def test_random_bytes_as_a_message_break_rule_2(start_plugin, endpoint):
    start_plugin(HOSTILE, "random")
    code, results = check(endpoint, "--timeout=20s")
    assert code == 1
    assert failed(results) == {"2 MUST"}


def limit_memory():
    resource.setrlimit(resource.RLIMIT_DATA, (700 << 20, 700 << 20))


def test_answers_of_100_mb_break_rule_2_and_not_the_check(start_plugin, endpoint):
    start_plugin(HOSTILE, "large")
    code, results = check(endpoint, "--timeout=20s", preexec_fn=None if SANITIZED else limit_memory)
    assert code == 1
    assert failed(results) == {"2 MUST"}
    assert "larger than max" in results["2 MUST"][1]


class RawServer:
    """Accepts, sends bytes that are not HTTP/2, and keeps or closes the connection."""

    def __init__(self, path, greeting, close):
        self._greeting, self._close = greeting, close
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._connections = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with contextlib.suppress(OSError):
                    connection.sendall(self._greeting)
                if self._close:
                    connection.close()
                else:
                    self._connections.append(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        for connection in [self._listener, *self._connections]:
            connection.close()


@pytest.mark.parametrize("greeting, close", [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
    (b"\x15\x03\x01\x00\x02\x02\x46", True),  # TLS: an alert
    (bytes(range(256)) * 100, False),
    (b"", True),
], ids=["http-1", "tls", "garbage", "closed"])
def test_what_is_no_grpc_breaks_rule_1(directory, endpoint, greeting, close):
    with RawServer(f"{directory}/kms.sock", greeting, close):
        code, results = check(endpoint, "--timeout=20s")
    assert code == 1
    assert "1 MUST" in failed(results) and failed(results) <= {"1 MUST", "6 MUST"}
    assert results["20 MUST"][0] == "NOT_APPLICABLE"


def test_a_listener_that_says_nothing_breaks_rule_4(directory, endpoint):
    with RawServer(f"{directory}/kms.sock", b"", False):
        code, results = check(endpoint, HASTY)
    assert (code, failed(results)) == (1, {"4 MUST"})


def test_the_whole_check_has_a_deadline(start_provider, endpoint):
    start_provider(endpoint, "--fault", '{"latency": {"min": "0.2s"}}')
    done = run("supervisor", "check", endpoint, "--timeout=20s", "--deadline=1s", "-o", "json")
    assert done.returncode == 1
    assert done.stderr == "supervisor: the check did not finish within 1s; give it a longer --deadline\n"
    results = json.loads(done.stdout)["results"]
    assert [result["rule"] for result in results if result["verdict"] == "FAIL"] == [16]  # not cheap, but in time
    assert "--deadline was over" in next(result["seen"] for result in results if result["rule"] == 4)


def test_words_of_a_plugin_cannot_move_the_cursor(start_provider, endpoint):
    start_provider(endpoint, "--fault", '{"healthz": "\\u001b[2J' + "x" * 1000 + '"}')
    shown = run("supervisor", "check", endpoint, timeout=4 * DEADLINE)
    assert shown.returncode == 1
    assert "\\x1b[2Jxxx" in shown.stdout and "\x1b" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) < 250
