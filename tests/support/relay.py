"""A TCP relay before a real server, that counts and damages what the server sends.

Relay(port) is a context manager; nothing outlives it. `received` counts the bytes from the server, `connections` the
connections. What it does besides is chosen by keyword:
  cut_after=N          closes after N bytes from the server, over all connections
  flip_at=N            inverts byte N from the server
  swaps={OLD: NEW}     puts NEW in the place of OLD, which the server has to send in one piece
  stall_after=N        sends nothing more after N bytes, and keeps the connection
  drop_second=True     closes a connection, without a word, when its second request comes
  answers=[BYTES...]   each answers one request, in the server's place, and ends that connection
  replies={WORD: BYTES}  answers each request whose body holds WORD by BYTES, in the server's place, and ends that connection
  recovers=True        cuts and stalls once only, and is a plain relay from then on
"""
import socket
import threading

from support.git_servers import _Accepting


class Relay(_Accepting):
    def __init__(self, port, cut_after=None, flip_at=None, stall_after=None, drop_second=False,
                 answers=(), recovers=False, swaps=None, replies=None, listener=None):
        self._port = port
        self._replies = replies or {}
        self._swaps = swaps or {}
        self._answers = list(answers)
        self._recovers = recovers
        self._cut_after, self._flip_at, self._stall_after = cut_after, flip_at, stall_after
        self._drop_second = drop_second
        self._lock = threading.Lock()
        self.received = 0
        self.connections = 0
        self.stalled = threading.Event()
        super().__init__(listener)

    def handle(self, connection):
        self.connections += 1
        if self._answers:
            connection.recv(65536)
            connection.sendall(self._answers.pop(0))
            connection.shutdown(socket.SHUT_RDWR)
            return
        first = self.connections == 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            silent = threading.Event()
            back = threading.Thread(target=self.pump, args=[server, connection, lambda data: self._damage(data, silent)])
            answered = self.received
            back.start()
            drops = lambda: first and self._drop_second and self.received > answered
            self.pump(connection, server, lambda data: (b"", False) if drops() or self._replied(connection, data) else (data, True))
            back.join()

    def _replied(self, connection, data):
        """True if `data` is a request that is answered here. The server has only got its head, and is silent."""
        for word, reply in self._replies.items():
            if word in data:
                connection.sendall(reply)
                return True
        return False

    def _damage(self, data, silent):
        """The part of `data` to pass on, and whether the connection stays. Sets `silent` if nothing more is to be sent."""
        with self._lock:
            start, self.received = self.received, self.received + len(data)
        if silent.is_set():
            return b"", True
        for old, new in self._swaps.items():
            data = data.replace(old, new)
        if self._passes(self._flip_at, start, data):
            data = bytearray(data)
            data[self._flip_at - start] ^= 0xFF
            self._flip_at = None
        if self._passes(self._stall_after, start, data):
            silent.set()
            self.stalled.set()
            data = data[:max(0, self._stall_after - start)]
            self._stall_after = None if self._recovers else self._stall_after
        elif self._passes(self._cut_after, start, data):
            data = data[:max(0, self._cut_after - start)]
            self._cut_after = None if self._recovers else self._cut_after
            return data, False
        return data, True

    @staticmethod
    def _passes(point, start, data):
        return point is not None and start + len(data) > point
