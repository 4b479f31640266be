"""A network with a round trip: packets between two TUN devices arrive late.

  with Distance(0.040) as far:
      far.address          of this side; a server that listens there is a round trip of 40 ms away
      far.command([...])   the command as it has to be started to run on the other side

So everything costs what it costs on a real line: a connection's handshake and TCP's slow start as well as each answer. The
other side is a network namespace of its own. Needs root; raises OSError without.
"""
import ctypes
import fcntl
import os
import queue
import select
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
NEAR, FAR = "198.18.0.1", "198.18.0.2"  # of the block for benchmarks, RFC 2544


def _device(name, address):
    """A TUN device in the calling thread's network namespace; it is there as long as the descriptor is open."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        for command in (["address", "add", f"{address}/30", "dev", name], ["link", "set", name, "up"]):
            subprocess.run(["ip", *command], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        os.close(device)
        raise OSError(f"cannot make the network device {name}: {error}") from error
    return device


class Distance:
    def __init__(self, round_trip):
        self.address = NEAR
        self._one_way = round_trip / 2
        self._stop_read, self._stop_write = os.pipe()
        self._near = _device("kms-near", NEAR)
        try:
            self._far, self._namespace = self._other_side()
        except OSError:
            os.close(self._near)
            raise
        self._threads = []
        for source, target in ((self._near, self._far), (self._far, self._near)):
            line = queue.Queue()
            self._threads += [threading.Thread(target=self._receive, args=[source, line]),
                              threading.Thread(target=self._deliver, args=[line, target])]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.write(self._stop_write, b"x")
        for thread in self._threads:
            thread.join()
        for descriptor in (self._near, self._far, self._namespace, self._stop_read, self._stop_write):
            os.close(descriptor)

    def command(self, arguments):
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", *arguments]

    @staticmethod
    def _other_side():
        """Its device and its namespace. A namespace is a thread's: one that ends at once leaves this thread's alone."""
        made = []

        def make():
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.unshare(CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "cannot make a network namespace")
                made.append((_device("kms-far", FAR), os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def _receive(self, source, line):
        while self._stop_read not in (ready := select.select([source, self._stop_read], [], [])[0]):
            if ready:
                line.put((time.monotonic() + self._one_way, os.read(source, 65536)))
        line.put((0, None))

    @staticmethod
    def _deliver(line, target):
        while (packet := line.get())[1] is not None:
            time.sleep(max(0.0, packet[0] - time.monotonic()))  # the distance that is simulated
            os.write(target, packet[1])
