"""A real sshd for tests: one process per connection (sshd -i), with a host key and a user key of its own.

`home` is a directory with .ssh/id_ed25519 and .ssh/known_hosts, to be the client's HOME. Root only: sshd is.
"""
import pathlib
import pwd
import os
import socket
import subprocess

from support.git_servers import _Accepting

CONFIGURATION = """
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
LogLevel QUIET
"""


def make_key(file, comment="tests"):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file], check=True)
    return pathlib.Path(f"{file}.pub").read_text()


class Sshd(_Accepting):
    def __init__(self, directory, home):
        self._directory = directory
        directory.mkdir()
        host_key = make_key(directory / "host_key")
        (directory / "sshd_config").write_text(CONFIGURATION.format(directory=directory))
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        (home / ".ssh").mkdir(mode=0o700)
        (directory / "authorized_keys").write_text(make_key(home / ".ssh" / "id_ed25519"))
        super().__init__()
        (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(host_key.split()[:2])}\n")

    def url(self, path, user=pwd.getpwuid(os.getuid()).pw_name):
        return f"ssh://{user}@127.0.0.1:{self.port}{path}"

    def handle(self, connection):
        subprocess.run(["/usr/sbin/sshd", "-i", "-f", self._directory / "sshd_config"], stdin=connection, stdout=connection,
                       stderr=subprocess.DEVNULL)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
