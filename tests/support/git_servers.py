"""Real git servers for tests, on ports of 127.0.0.1 that the system chooses.

Each server is a context manager; nothing outlives it. Listening sockets are made here and handed over, so a server can
be connected to from the moment its object exists, and no port is ever guessed:
  GitDaemon(directory)   git:// by `git daemon --inetd`, one process per connection; `version` 0 answers as one does that
                      does not know version 2; such a server can also hide capabilities and demand one
  GitHttp(directory)     http:// by nginx, fcgiwrap and git http-backend; with `users`, asks for a password; with `tls`
                      (certificate and key), https://; `version` 0 hides version 2 of the protocol; `lines` are more
                      of nginx' server configuration, `log_format` is a format for a log there
  ConnectProxy()      an HTTP proxy that makes tunnels (CONNECT); `status` refuses them with that, `login`
                      ("user:password") has to be given for one
  SilentServer()      accepts and says nothing
  RefusedPort()       a port on which nobody listens
"""
import base64
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading


def git(directory, *arguments, stdin=None):
    """Runs git in `directory`; its stdout without the line end."""
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", HOME=str(directory))
    for kind in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{kind}_NAME"] = "tester"
        environment[f"GIT_{kind}_EMAIL"] = "tester@example.org"
    done = subprocess.run(["git", *arguments], cwd=directory, env=environment, input=stdin, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.rstrip("\n")


class Repository:
    """A checkout with a branch `main`. commit() writes files and commits them."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory)
        self.path.mkdir(parents=True)
        git(self.path, "init", "-q", "-b", "main", ".")

    def commit(self, files, message="change"):
        """`files` maps names to contents; returns the commit's id."""
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        git(self.path, "add", "--all")
        git(self.path, "commit", "-q", "--allow-empty", "-m", message)
        return self.id("HEAD")

    def id(self, name):
        return git(self.path, "rev-parse", name)

    def git(self, *arguments, **options):
        return git(self.path, *arguments, **options)


def listening_socket(address="127.0.0.1"):
    listener = socket.socket()
    listener.bind((address, 0))
    listener.listen(64)
    return listener


class _Accepting:
    """Runs handle(connection) on a thread for each connection."""

    def __init__(self, listener=None):
        self._listener = listener or listening_socket()
        self._connections = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self):
        return self._listener.getsockname()[1]

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self.handle, args=[connection])
            self._threads.append(thread)
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads[1:]:
            thread.join()
        for connection in self._connections:
            connection.close()

    @staticmethod
    def pump(source, target, change=lambda data: (data, True)):
        """Copies until either end closes or `change` says that it is over, then closes both. `change` gives what goes on, and
        whether the connection does."""
        try:
            while data := source.recv(65536):
                data, goes_on = change(data)
                target.sendall(data)
                if not goes_on:
                    break
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class GitDaemon(_Accepting):
    def __init__(self, directory, version=2, hidden=(), demanded=None):
        self._directory = directory
        self._version = version
        self._hidden = hidden
        self._demanded = demanded
        self.wants = []
        super().__init__()

    def url(self, name, userinfo=""):
        return f"git://127.0.0.1:{self.port}/{name}"

    def _serve_version_0(self, connection):
        """The daemon's behaviour if the first packet asks for no version (gitprotocol-pack(5))."""
        size = int(connection.recv(4, socket.MSG_WAITALL), 16)
        path = connection.recv(size - 4, socket.MSG_WAITALL).split(b"\0")[0].decode().removeprefix("git-upload-pack /")
        command = ["git", "upload-pack", "--strict", f"{self._directory}/{path}"]
        if not self._hidden and not self._demanded:
            subprocess.run(command, stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
            return
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            first = server.stdout.read(int(server.stdout.read(4), 16) - 4)
            refs, _, words = first.rstrip(b"\n").partition(b"\0")
            words = b" ".join(word for word in words.split(b" ") if word.decode().partition("=")[0] not in self._hidden)
            connection.sendall(b"%04x%s\0%s\n" % (len(refs) + len(words) + 6, refs, words))
            threading.Thread(target=self._forward_wants, args=[connection, server.stdin]).start()
            while data := server.stdout.read1(65536):
                connection.sendall(data)

    def _forward_wants(self, connection, stdin):
        """Ends the conversation with text, as some servers do, if the first want lacks what is demanded."""
        first = b""
        try:
            while data := connection.recv(65536):
                if not first:
                    first = data
                    self.wants.append(data.decode())
                    if self._demanded and self._demanded not in data.decode():
                        connection.sendall(b"%04xERR give %s" % (len(self._demanded) + 13, self._demanded.encode()))
                        break
                stdin.write(data)
                stdin.flush()
        except OSError:
            pass
        try:
            stdin.close()
        except OSError:
            pass

    def handle(self, connection):
        if self._version == 0:
            self._serve_version_0(connection)
        else:
            self._serve(connection)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _serve(self, connection):
        subprocess.run(["git", "daemon", "--inetd", "--export-all", f"--base-path={self._directory}",
                        "--informative-errors"], stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)


class SilentServer(_Accepting):
    """Accepts, keeps the connection and says nothing. `connected` is set at the first connection."""

    def __init__(self):
        self.connected = threading.Event()
        super().__init__()

    def url(self, scheme="http"):
        return f"{scheme}://127.0.0.1:{self.port}/x.git"

    def handle(self, connection):
        self.connected.set()


class ConnectProxy(_Accepting):
    """`targets` are the destinations of the requested tunnels, `heads` the other header lines."""

    def __init__(self, status=None, login=None):
        self._status = status
        self._login = login and "Proxy-Authorization: Basic " + base64.b64encode(login.encode()).decode()
        self.targets, self.heads = [], []
        super().__init__()

    def url(self, userinfo=""):
        return f"http://{userinfo + '@' if userinfo else ''}127.0.0.1:{self.port}"

    def _read_head(self, connection):
        """Reads a request; "" at the connection's end."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65536)
            if not data:
                return ""
            head += data
        self.heads.append(head.decode())
        return head.decode()

    def handle(self, connection):
        head = self._read_head(connection)
        while head and self._login and self._login not in head.split("\r\n"):
            connection.sendall(b'HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n')
            head = self._read_head(connection)
        if not head:
            return
        method, target, _ = head.split(" ", 2)
        self.targets.append(target)
        if method != "CONNECT" or self._status:
            connection.sendall(f"HTTP/1.1 {self._status or '400 No'}\r\nContent-Length: 0\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_RDWR)
            return
        host, port = target.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as server:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self.pump, args=[server, connection])
            back.start()
            self.pump(connection, server)
            back.join()


class RefusedPort:
    """Holds a port without listening on it: connecting is refused, and nobody else gets the port. `take()` gives the
    socket away, listening from then on."""

    def __enter__(self):
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        return self

    def take(self):
        self._socket.listen(64)
        return self._socket

    def __exit__(self, *_):
        self._socket.close()


NGINX_CONFIGURATION = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
  access_log {directory}/access.log;
  {log_format}
  client_body_temp_path {directory}/body;
  fastcgi_temp_path {directory}/fastcgi;
  proxy_temp_path {directory}/proxy;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port}{tls};
    {lines}
    location / {{
      {authentication}
      client_max_body_size 0;
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      {version}
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_pass unix:{directory}/fcgi.sock;
    }}
  }}
}}
"""


class GitHttp:
    """`users` maps names to passwords; without it everybody may read."""

    def __init__(self, directory, users=None, version=2, tls=None, lines="", log_format=""):
        self._root = directory
        self._users = users or {}
        self._version = "fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;" if version == 2 else 'fastcgi_param HTTP_GIT_PROTOCOL "";'
        self._tls = tls
        self._lines = lines
        self._log_format = log_format

    @property
    def port(self):
        return self._listener.getsockname()[1]

    def url(self, name, userinfo="", host="127.0.0.1", port=None):
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{userinfo + '@' if userinfo else ''}{host}:{port or self.port}/{name}"

    def requests(self):
        """The lines of the access log so far."""
        log = self._directory / "access.log"
        return log.read_text().splitlines() if log.exists() else []  # nginx may still be starting

    def __enter__(self):
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="nginx."))
        self._listener = listening_socket()
        fcgi = socket.socket(socket.AF_UNIX)
        fcgi.bind(str(self._directory / "fcgi.sock"))
        fcgi.listen(64)
        # fcgiwrap takes a listening socket as its stdin; two processes, since a fetch may use two connections.
        self._processes = [subprocess.Popen(["fcgiwrap", "-f", "-c", "2"], stdin=fcgi, start_new_session=True,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
        fcgi.close()
        self._processes.append(self._start_nginx())
        return self

    def _start_nginx(self):
        authentication = ""
        if self._users:
            file = self._directory / "users"
            file.write_text("".join(f"{name}:{{PLAIN}}{password}\n" for name, password in self._users.items()))
            authentication = f'auth_basic "tests"; auth_basic_user_file {file};'
        configuration = self._directory / "nginx.conf"
        configuration.write_text(NGINX_CONFIGURATION.format(
            directory=self._directory, port=self.port, root=self._root, authentication=authentication, version=self._version,
            log_format=f"log_format {self._log_format};" if self._log_format else "", tls=" ssl" if self._tls else "", lines=self._lines + (
                f"\n    ssl_certificate {self._tls[0]};\n    ssl_certificate_key {self._tls[1]};" if self._tls else "")))
        # nginx takes listening sockets over from the numbers in $NGINX, as in its own binary upgrade.
        return subprocess.Popen(
            ["nginx", "-p", str(self._directory), "-c", str(configuration), "-e", str(self._directory / "error.log")],
            pass_fds=[self._listener.fileno()], start_new_session=True,
            env=dict(os.environ, NGINX=f"{self._listener.fileno()};"), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        for process in self._processes:  # whole groups: fcgiwrap's children outlive their parent
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self._listener.close()
        shutil.rmtree(self._directory)
