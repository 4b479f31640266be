import pytest

from support import processes
from support.kms_client import KmsClient


@pytest.fixture
def directory():
    made = processes.short_directory()
    yield made
    processes.remove(made)


@pytest.fixture
def endpoint(directory):
    return f"unix://{directory}/kms.sock"


@pytest.fixture
def start_provider():
    """Starts providers that listen when the call returns, and ends those that are left."""
    started = []

    def start(endpoint, *args, **popen):
        program = processes.Program(
            processes.binary("mock-kms-provider"), "--listen-addr", endpoint, *args, **popen
        )
        started.append(program)
        program.wait_for_line(": started")
        return program

    yield start
    for program in started:
        program.__exit__()


@pytest.fixture
def provider(start_provider, endpoint):
    return start_provider(endpoint)


@pytest.fixture
def client(provider, endpoint):
    """More patient than the API server: a sanitizer's build on a busy machine takes its time."""
    with KmsClient(endpoint, timeout=processes.DEADLINE) as client:
        yield client
