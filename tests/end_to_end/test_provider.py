"""mock-kms-provider as the API server meets it. Rule numbers are those of the KMS v2 contract."""

import concurrent.futures
import re
import struct

import grpc
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proto import kms_v2_pb2 as v2
from support.kms_client import KmsClient, code_of
from support.processes import DEADLINE

DEK_SEED = bytes(range(32))  # what the API server has encrypted is 32 bytes
KEY_ID = re.compile(r"default/v1/[0-9a-f]{8}")


def test_rules_1_2_3_27_round_trips_over_a_path_with_authority_localhost(client):
    for plaintext in (DEK_SEED, b"", b"\0", b"x" * 1_000_000):
        assert client.decrypt(client.encrypt(plaintext)) == plaintext


def test_rule_1_an_abstract_address_is_served_and_leaves_no_file(start_provider, directory):
    endpoint = f"unix:///@{directory.name}"
    start_provider(endpoint)
    with KmsClient(endpoint) as client:
        assert client.decrypt(client.encrypt(DEK_SEED)) == DEK_SEED
    assert list(directory.iterdir()) == []


def test_rule_2_another_method_is_unimplemented(client):
    call = client._channel.unary_unary("/v2.KeyManagementService/Rotate")
    assert code_of(call, b"", timeout=3)[0] == grpc.StatusCode.UNIMPLEMENTED


def test_rule_3_any_authority_is_served(provider, endpoint):
    for authority in ("localhost", "x", "kms.sock"):
        with KmsClient(endpoint, authority=authority) as client:
            assert client.status().healthz == "ok"


def test_rule_4_a_client_that_was_there_first_is_answered_within_its_deadline(start_provider, endpoint):
    with KmsClient(endpoint) as client, concurrent.futures.ThreadPoolExecutor() as pool:
        early = pool.submit(client.status)
        start_provider(endpoint)
        assert early.result().healthz == "ok"


def test_rule_5_concurrent_calls_on_several_connections(provider, endpoint):
    clients = [KmsClient(endpoint) for _ in range(8)]

    def round_trip(number):
        plaintext = struct.pack(">Q", number) * 4
        client = clients[number % len(clients)]
        return client.decrypt(client.encrypt(plaintext)) == plaintext

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(round_trip, range(800)))
    for client in clients:
        client.close()


def test_rules_10_to_16_status_is_the_same_each_time_and_agrees_with_encrypt(client):
    first = client.status()
    assert (first.version, first.healthz) == ("v2", "ok")
    assert KEY_ID.fullmatch(first.key_id)
    assert all(client.status() == first for _ in range(20))
    assert client.encrypt(DEK_SEED).key_id == first.key_id


def test_rules_20_to_24_what_encrypt_gives_is_short_sealed_and_well_named(client):
    sealed = client.encrypt(DEK_SEED)
    assert 1 <= len(sealed.ciphertext) <= 1024
    assert DEK_SEED not in sealed.ciphertext
    assert KEY_ID.fullmatch(sealed.key_id)
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    for name, value in sealed.annotations.items():
        assert re.fullmatch(rf"{label}(\.{label})+", name) and len(name) <= 253
        assert DEK_SEED not in value
    assert sum(len(name) + len(value) for name, value in sealed.annotations.items()) <= 32 * 1024


def test_rule_25_any_uid_but_an_empty_one_is_accepted(client):
    for uid in ("x", "not a uuid", "\n", "ü" * 500):
        client.encrypt(DEK_SEED, uid=uid)
    assert code_of(client.encrypt, DEK_SEED, uid="") == (grpc.StatusCode.INVALID_ARGUMENT, "uid is empty")


def test_rule_26_no_two_ciphertexts_share_a_nonce(client):
    assert len({client.encrypt(DEK_SEED).ciphertext[:12] for _ in range(300)}) == 300


def test_rule_28_decrypt_works_under_any_uid(client):
    sealed = client.encrypt(DEK_SEED, uid="one")
    for uid in ("one", "two", ""):
        assert client.decrypt(sealed, uid=uid) == DEK_SEED


def test_rule_29_replicas_with_one_seed_read_each_other_at_any_version(start_provider, directory):
    seed = directory / "seed"
    seed.write_bytes(bytes(range(100, 132)))
    endpoints = [f"unix://{directory}/{name}.sock" for name in ("a", "b")]
    for endpoint, version in zip(endpoints, ("1", "4294967295")):
        start_provider(endpoint, "--seed-file", str(seed), "--key-version", version)
    with KmsClient(endpoints[0]) as one, KmsClient(endpoints[1]) as two:
        assert one.status().key_id != two.status().key_id
        assert two.decrypt(one.encrypt(DEK_SEED)) == DEK_SEED
        assert one.decrypt(two.encrypt(DEK_SEED)) == DEK_SEED


def test_rules_30_32_a_changed_ciphertext_is_invalid(client):
    sealed = client.encrypt(DEK_SEED)
    size = len(sealed.ciphertext)
    changed = [b"", sealed.ciphertext[:-1], sealed.ciphertext + b"\0", sealed.ciphertext[:27], DEK_SEED]
    for i in range(size):
        flipped = bytearray(sealed.ciphertext)
        flipped[i] ^= 1 << (i % 8)
        changed.append(bytes(flipped))
    for ciphertext in changed:
        code, _ = code_of(client.decrypt, sealed, ciphertext=ciphertext)
        assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_rules_30_32_changed_missing_and_extra_annotations_are_invalid(client):
    sealed = client.encrypt(DEK_SEED)
    good = dict(sealed.annotations)
    for annotations in ({}, {**good, "x.test": b"1"}, {name: b"2" for name in good}, {"x.test": b"1"}):
        code, _ = code_of(client.decrypt, sealed, annotations=annotations)
        assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_rule_32_a_malformed_key_id_is_invalid_and_a_strange_one_not_found(start_provider, directory, client):
    sealed = client.encrypt(DEK_SEED)
    for key_id in ("", "1", "default/v1", "default/v0/00000000"):
        assert code_of(client.decrypt, sealed, key_id=key_id)[0] == grpc.StatusCode.INVALID_ARGUMENT
    for key_id in ("default/v1/00000000", "other/v1/" + sealed.key_id[-8:]):
        code, text = code_of(client.decrypt, sealed, key_id=key_id)
        assert code == grpc.StatusCode.NOT_FOUND and key_id in text


def test_instances_share_no_keys(start_provider, directory):
    endpoints = [f"unix://{directory}/{name}.sock" for name in ("a", "b")]
    for endpoint, instance in zip(endpoints, ("blue", "green")):
        start_provider(endpoint, "--instance", instance)
    with KmsClient(endpoints[0]) as blue, KmsClient(endpoints[1]) as green:
        sealed = blue.encrypt(DEK_SEED)
        assert sealed.key_id.startswith("blue/v1/")
        assert code_of(green.decrypt, sealed)[0] == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("connections", [1, 8])
def test_rule_31_a_burst_of_512_decrypts_is_answered(provider, endpoint, connections):
    clients = [KmsClient(endpoint) for _ in range(connections)]
    sealed = clients[0].encrypt(DEK_SEED)
    request = v2.DecryptRequest(
        ciphertext=sealed.ciphertext, key_id=sealed.key_id, annotations=dict(sealed.annotations), uid="burst"
    )
    calls = [
        clients[i % connections].stub.Decrypt.future(request, timeout=DEADLINE, wait_for_ready=True)
        for i in range(512)
    ]
    assert all(call.result().plaintext == DEK_SEED for call in calls)
    for client in clients:
        client.close()


def test_a_message_over_4_mib_is_refused_and_the_next_call_served(client):
    code, _ = code_of(client.encrypt, b"x" * (5 << 20))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.status().healthz == "ok"


def test_an_independent_implementation_opens_what_the_provider_sealed(start_provider, directory, endpoint):
    seed = bytes(range(32))
    (directory / "seed").write_text(seed.hex())
    start_provider(endpoint, "--seed-file", f"{directory}/seed", "--instance", "kms-1", "--key-version", "3")
    with KmsClient(endpoint) as client:
        sealed = client.encrypt(DEK_SEED)

    def fields(*texts):
        return b"".join(struct.pack(">I", len(text)) + text.encode() for text in texts)

    def derive(purpose, length):
        return HKDF(SHA256(), length, None, fields(purpose, "kms-1", "3")).derive(seed)

    assert sealed.key_id == "kms-1/v3/" + derive("mock-kms key check", 4).hex()
    key = AESGCM(derive("mock-kms key encryption key", 32))
    bound = fields("mock-kms sealed value", "1", "kms-1", sealed.key_id)
    assert key.decrypt(sealed.ciphertext[:12], sealed.ciphertext[12:], bound) == DEK_SEED
