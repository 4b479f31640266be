"""A git server whose answers a test chooses, over git:// and version 2 of the protocol, and packs made by hand.

PackServer(pack, commit) answers every fetch with the bytes of `pack`, or with what it yields where it is a function;
`endless_greeting` has it list refs without end, as version 0 does. RefusingServer(words) refuses by these bytes.
"""
import hashlib
import socket
import struct
import zlib

from support.git_servers import _Accepting

COMMIT, TREE, BLOB, OFFSET_DELTA, ID_DELTA = 1, 2, 3, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}


def object_id(kind, content):
    return hashlib.sha1(NAMES[kind] + b" %d\0" % len(content) + content).digest()


def commit_of(tree):
    return b"tree %s\nauthor a <a@x> 1 +0000\ncommitter a <a@x> 1 +0000\n\nhostile\n" % tree.hex().encode()


def size_of_delta(number):
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def object_header(kind, size):
    first = kind << 4 | size & 0x0F
    size >>= 4
    return bytes([first | (0x80 if size else 0)]) + (size_of_delta(size) if size else b"")


def offset_of_base(distance):
    out = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        out.append(distance & 0x7F | 0x80)
    return bytes(reversed(out))


def stored(kind, content, size=None, level=1):
    """An object of a pack; `size` is the size that it claims."""
    return object_header(kind, len(content) if size is None else size) + zlib.compress(content, level)


def delta(distance, instructions, base_size, result_size):
    """An object that is made of the one `distance` bytes before it."""
    content = size_of_delta(base_size) + size_of_delta(result_size) + instructions
    return object_header(OFFSET_DELTA, len(content)) + offset_of_base(distance) + zlib.compress(content)


def delta_of(base, instructions, base_size, result_size):
    """An object that is made of the one with the id `base`."""
    content = size_of_delta(base_size) + size_of_delta(result_size) + instructions
    return object_header(ID_DELTA, len(content)) + base + zlib.compress(content)


COPY_64K = b"\x80"  # from 0, and size 0 means 0x10000


def pack(*objects, count=None):
    body = b"PACK" + struct.pack(">II", 2, len(objects) if count is None else count) + b"".join(objects)
    return body + hashlib.sha1(body).digest()


def packet(payload):
    return b"%04x" % (len(payload) + 4) + payload


class RefusingServer(_Accepting):
    """Answers every greeting by an error with these bytes."""

    def __init__(self, words):
        self._words = words
        super().__init__()

    def url(self):
        return f"git://127.0.0.1:{self.port}/hostile.git"

    def handle(self, connection):
        connection.recv(4096)
        connection.sendall(packet(b"ERR " + self._words))
        connection.shutdown(socket.SHUT_WR)


class LongHeadServer(_Accepting):
    """Answers every HTTP request, a proxy's CONNECT too, by a head that goes on with `line` for ever, perhaps after one redirect."""

    def __init__(self, line, redirects=0):
        self._line, self._redirects = line, redirects
        self.requests = 0
        super().__init__()

    def url(self, name=""):
        return f"http://127.0.0.1:{self.port}{name}"

    def handle(self, connection):
        self.requests += 1
        connection.recv(65536)
        try:
            if self.requests <= self._redirects:
                connection.sendall(b"HTTP/1.1 302 F\r\nLocation: /again/info/refs\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(self._line)
        except OSError:
            pass  # the client has hung up


class PackServer(_Accepting):
    def __init__(self, pack, commit, endless_greeting=False):
        self._pack = pack
        self._endless_greeting = endless_greeting
        self._commit = commit.hex().encode()
        super().__init__()

    def url(self):
        return f"git://127.0.0.1:{self.port}/hostile.git"

    def handle(self, connection):
        stream = connection.makefile("rwb")
        try:
            self._talk(stream)
        except (OSError, ValueError):
            pass  # the client has hung up

    def _talk(self, stream):
        self._read(stream)
        refs = b"".join(packet(self._commit + b" refs/heads/%050d\n" % i) for i in range(10_000))
        while self._endless_greeting:
            self._send(stream, refs)
        self._send(stream, packet(b"version 2\n") + packet(b"ls-refs\n") + packet(b"fetch=shallow filter\n") + b"0000")
        while words := self._request(stream):
            if b"command=ls-refs\n" in words:
                self._send(stream, packet(self._commit + b" HEAD\n") + b"0000")
            else:
                self._send(stream, packet(b"packfile\n"))
                for part in self._pack() if callable(self._pack) else [self._pack]:
                    for at in range(0, len(part), 65000):
                        self._send(stream, packet(b"\1" + part[at:at + 65000]))
                self._send(stream, b"0000")

    @staticmethod
    def _send(stream, data):
        stream.write(data)
        stream.flush()

    @staticmethod
    def _read(stream):
        size = int(stream.read(4) or b"0000", 16)
        return stream.read(size - 4) if size >= 4 else None

    def _request(self, stream):
        words = []
        while True:
            head = stream.read(4)
            if head in (b"", b"0000"):
                return words
            if int(head, 16) >= 4:
                words.append(stream.read(int(head, 16) - 4))
