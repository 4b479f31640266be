"""The transport between the API server and the plugin: compression, pings, and calls that are no KMS v2 call."""

import json
import threading
import time

import grpc
import pytest

from proto import kms_v2_pb2 as v2
from proto import kms_v2_pb2_grpc, provider_control_pb2, provider_control_pb2_grpc, supervisor_control_pb2, supervisor_control_pb2_grpc
from support.kms_client import code_of, grpc_target
from support.processes import run_provider
from support.supervised import Supervised

PINGS = [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0)]
TOO_MANY_PINGS_AFTER = 5.0  # seconds: gRPC's server by default ends the connection after three pings, here after 3 s


def channel_to(endpoint, *options, **settings):
    return grpc.insecure_channel(grpc_target(endpoint), **settings, options=[
        ("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1), *options])


def journal_of(endpoint):
    shown = run_provider("journal", "-o", "json", "--socket", endpoint, check=True).stdout
    return [json.loads(line) for line in shown.splitlines()]


def counts_of(endpoint):
    shown = run_provider("journal", "--counts", "-o", "json", "--socket", endpoint, check=True).stdout
    return {(count["method"], count["code"]): int(count["calls"]) for count in json.loads(shown)["counts"]}


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_answered_and_in_the_journal(provider, endpoint, compression):
    with channel_to(endpoint, compression=compression) as channel:
        stub = kms_v2_pb2_grpc.KeyManagementServiceStub(channel)
        sealed = stub.Encrypt(v2.EncryptRequest(plaintext=bytes(4096), uid="zip"), timeout=5)
        opened = stub.Decrypt(v2.DecryptRequest(uid="unzip", ciphertext=sealed.ciphertext, key_id=sealed.key_id,
                                                annotations=sealed.annotations), timeout=5)
    assert opened.plaintext == bytes(4096)
    assert [call["uid"] for call in journal_of(endpoint)] == ["zip", "unzip"]


def stays_connected(channel, ask):
    """True if the connection stays while nothing but pings goes over it."""
    states = []
    channel.subscribe(states.append)
    ask()
    time.sleep(TOO_MANY_PINGS_AFTER)  # the time is the subject: a ping each second
    ask()
    return states.count(grpc.ChannelConnectivity.READY) == 1


def test_a_ping_each_second_is_tolerated_on_the_supervisor_s_control_socket(directory):
    with Supervised(directory) as supervised, channel_to(supervised.control, *PINGS) as channel:
        supervised.healthy()
        status = supervisor_control_pb2_grpc.SupervisorControlStub(channel).GetStatus
        assert stays_connected(channel, lambda: status(supervisor_control_pb2.GetStatusRequest(), timeout=5))


def test_a_ping_each_second_is_tolerated_on_both_sockets(provider, endpoint):
    with channel_to(endpoint, *PINGS) as kms, channel_to(endpoint + ".control", *PINGS) as control:
        status = kms_v2_pb2_grpc.KeyManagementServiceStub(kms).Status
        keys = provider_control_pb2_grpc.ProviderControlStub(control).ListKeys
        results = {}
        cases = {"kms": (kms, lambda: status(v2.StatusRequest(), timeout=5)),
                 "control": (control, lambda: keys(provider_control_pb2.ListKeysRequest(), timeout=5))}
        threads = [threading.Thread(target=lambda name=name, case=case: results.update({name: stays_connected(*case)}))
                   for name, case in cases.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {"kms": True, "control": True}


def test_pings_during_a_slow_call_do_not_end_it(provider, endpoint):
    run_provider("fault", "add", "latency", "--latency", "6s", "--method", "encrypt", "--socket", endpoint, check=True)
    with channel_to(endpoint, *PINGS) as channel:
        stub = kms_v2_pb2_grpc.KeyManagementServiceStub(channel)
        assert stub.Encrypt(v2.EncryptRequest(plaintext=b"x", uid="slow"), timeout=20).ciphertext


def test_an_api_server_of_kms_v1_learns_what_to_set(provider, endpoint):
    with channel_to(endpoint) as channel:
        for _ in range(3):
            code, text = code_of(channel.unary_unary("/v1beta1.KeyManagementService/Version"), b"\n\x07v1beta1", timeout=5)
            assert (code, text) == (grpc.StatusCode.UNIMPLEMENTED,
                                    "this plugin serves KMS v2; set apiVersion: v2 in the EncryptionConfiguration")
    assert [(call["method"], call["code"]) for call in journal_of(endpoint)] == [
        ("/v1beta1.KeyManagementService/Version", "UNIMPLEMENTED")] * 3
    assert counts_of(endpoint) == {("Other", "UNIMPLEMENTED"): 3}
    metrics = run_provider("metrics", "--socket", endpoint, check=True).stdout
    assert 'mock_kms_calls_total{method="Other",code="UNIMPLEMENTED"} 3' in metrics
    provider.stop()
    assert len([line for line in provider.stderr if "warning" in line and "v1beta1" in line]) == 1


def test_an_unknown_method_is_named(provider, endpoint):
    with channel_to(endpoint) as channel:
        code, text = code_of(channel.unary_unary("/v2.KeyManagementService/Nope"), b"", timeout=5)
    assert code == grpc.StatusCode.UNIMPLEMENTED and "/v2.KeyManagementService/Nope" in text


def test_a_request_that_does_not_parse_is_in_the_journal_and_keeps_the_last_plaintext(client, provider, endpoint):
    client.encrypt(b"good", uid="good")
    with channel_to(endpoint) as channel:
        for method in ("Encrypt", "Decrypt"):
            code, text = code_of(channel.unary_unary(f"/v2.KeyManagementService/{method}"), b"\xff\xff\xff", timeout=5)
            assert (code, text) == (grpc.StatusCode.INTERNAL, f"the request is not a v2.{method}Request")
    assert [(call["method"], call["code"], call["requestBytes"]) for call in journal_of(endpoint)][1:] == [
        ("Encrypt", "INTERNAL", 3), ("Decrypt", "INTERNAL", 3)]
    assert "uid good" in run_provider("journal", "--last", "--socket", endpoint, check=True).stdout
    assert provider.wait_for_line("refused a call: the request is not a v2.EncryptRequest")


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_a_request_that_is_too_large_is_refused_and_in_the_journal(provider, endpoint, compression):
    with channel_to(endpoint, compression=compression) as channel:
        stub = kms_v2_pb2_grpc.KeyManagementServiceStub(channel)
        code, text = code_of(stub.Encrypt, v2.EncryptRequest(plaintext=bytes(5 << 20), uid="large"), timeout=20)
        assert (code, text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the request is larger than 4194304 bytes")
        assert stub.Status(v2.StatusRequest(), timeout=5).healthz == "ok"
    assert counts_of(endpoint)["Encrypt", "RESOURCE_EXHAUSTED"] == 1
    assert [call["code"] for call in journal_of(endpoint)] == ["RESOURCE_EXHAUSTED", "OK"]
    assert provider.wait_for_line("refused a call: the request is larger")


def test_a_compression_that_the_provider_does_not_know_is_in_the_journal(provider, endpoint):
    """The bytes of a frame of another scheme, as they arrive."""
    with channel_to(endpoint) as channel:
        code, _ = code_of(channel.unary_unary("/v2.KeyManagementService/Encrypt"), b"(\xb5/\xfd\x00", timeout=5)
    assert code == grpc.StatusCode.INTERNAL and counts_of(endpoint) == {("Encrypt", "INTERNAL"): 1}
