"""Calls a KMS v2 plugin as the API server does: :authority localhost, wait for ready, 3 s a call.

A KmsClient owns one connection and is used by any thread. It does not retry.
"""

import uuid

import grpc

from proto import kms_v2_pb2 as v2
from proto import kms_v2_pb2_grpc

TIMEOUT = 3.0  # seconds; EncryptionConfiguration's default


def grpc_target(endpoint):
    """gRPC's name of unix:///path or unix:///@abstract."""
    path = endpoint[len("unix://") :]
    return "unix-abstract:" + path[2:] if path.startswith("/@") else "unix:" + path


class KmsClient:
    def __init__(self, endpoint, timeout=TIMEOUT, authority="localhost"):
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            grpc_target(endpoint),
            options=[
                ("grpc.default_authority", authority),
                # A connection of its own, and a quick redial: a test does not wait out gRPC's back-off.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 100),
            ],
        )
        self.stub = kms_v2_pb2_grpc.KeyManagementServiceStub(self._channel)

    def _call(self, method, request):
        return method(request, timeout=self._timeout, wait_for_ready=True)

    def status(self):
        return self._call(self.stub.Status, v2.StatusRequest())

    def encrypt(self, plaintext, uid=None):
        uid = str(uuid.uuid4()) if uid is None else uid
        return self._call(self.stub.Encrypt, v2.EncryptRequest(plaintext=plaintext, uid=uid))

    def decrypt(self, sealed, uid=None, **changes):
        """Decrypts an EncryptResponse; `changes` replace its ciphertext, key_id or annotations."""
        uid = str(uuid.uuid4()) if uid is None else uid
        fields = {
            "ciphertext": sealed.ciphertext,
            "key_id": sealed.key_id,
            "annotations": dict(sealed.annotations),
            **changes,
        }
        return self._call(self.stub.Decrypt, v2.DecryptRequest(uid=uid, **fields)).plaintext

    def close(self):
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def code_of(call, *args, **kwargs):
    """The gRPC code and message with which a call is refused."""
    try:
        answer = call(*args, **kwargs)
    except grpc.RpcError as refusal:
        return refusal.code(), refusal.details()
    raise AssertionError(f"the call was answered: {answer}")


def outcomes_of(client, calls):
    """Calls Status that many times; returns the healthz of each, or its gRPC code."""
    outcomes = []
    for _ in range(calls):
        try:
            outcomes.append(client.status().healthz)
        except grpc.RpcError as error:
            outcomes.append(error.code())
    return outcomes
