"""Logins, pins and limits of a fetch."""
import base64
import socket
import subprocess

import pytest
from conftest import project
from support import huge_repository
from support.git_servers import ConnectProxy, GitDaemon, GitHttp, git
from support.relay import Relay
from support.sshd import Sshd
from support.tls import Authority


@pytest.fixture
def shop(workshop):
    workshop.source.git("config", "uploadpack.allowFilter", "true")
    workshop.commit = workshop.source.commit(project())
    return workshop


# --- logins ----------------------------------------------------------------------------------------------------------

PASSWORD = "s3cr/t-w@rd"


@pytest.fixture
def locked(shop):
    with GitHttp(shop.directory / "srv", users={"me": PASSWORD, "git": PASSWORD}) as server:
        (shop.directory / "password").write_text(PASSWORD + "\n")
        yield server


@pytest.mark.parametrize("options, environment", [
    (["--user", "me", "--password-file", "password"], {}),
    (["--password-file", "password"], {"GIT_USERNAME": "me"}),
    ([], {"GIT_USERNAME": "me", "GIT_PASSWORD": PASSWORD}),
    ([], {"GIT_TOKEN": PASSWORD}),
    ([], {"BUILDER_USER": "me", "BUILDER_PASSWORD_FILE": "password"}),
], ids=["options", "user of the environment", "environment", "token", "options of the environment"])
def test_a_password_is_used_and_never_shown(shop, locked, options, environment):
    done = shop.fetched("--log-level", "debug", "-o", "json", *options, repo=locked.url("source/.git"), environment=environment)
    assert PASSWORD not in done.stdout + done.stderr
    assert (done.directory / "provider").exists()


@pytest.mark.parametrize("user, password", [("u", "e"), ("git", "hidden"), ("server", "hidden"), ("token-of-40-digits", "")])
def test_a_server_that_repeats_the_login_cannot_make_it_known(shop, user, password):
    head = f"{user}:{password}".encode()
    text = f"got Authorization: Basic {base64.b64encode(head).decode()}, password '{password}'" + "." * 240 + f" '{password}'"
    answer = f"HTTP/1.1 400 No\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
    login = f"{user}:{password}" if password else user
    with Relay(1, answers=[answer.encode()] * 3) as relay:
        place = f"127.0.0.1:{relay.port}/x.git"
        line = shop.fetch_failure(repo=f"http://{login}@{place}")
    # A short name does not change the message.
    assert line.startswith(f"builder: cannot reach http://{place}: unexpected http status code: 400: 'got Authorization: Basic ***, password '")
    assert line.endswith("; check --repo, and what lies between here and the server")
    assert "hidden" not in line


def test_the_url_goes_before_other_logins(shop, locked):
    line = shop.fetch_failure("--password-file", "password", repo=locked.url("source/.git", "me:wrong"))
    assert "refuses the user and password; give the right --user and --password-file" in line
    assert "wrong" not in line


def test_a_password_is_not_told_to_another_server(shop, locked):
    with GitHttp(shop.directory / "srv", lines=f"rewrite ^/(.*)$ {locked.url('source/.git')}/$1 redirect;") as server:
        line = shop.fetch_failure("--user", "me", "--password-file", "password", repo=server.url("moved"))
    assert "another server than that of --repo asks for a user" in line
    assert all(" - me " not in request for request in locked.requests())


def test_a_password_of_the_url_is_not_told_to_another_server(shop, locked):
    with GitHttp(shop.directory / "srv", lines=f"rewrite ^/(.*)$ {locked.url('source/.git')}/$1 redirect;") as server:
        shop.fetch_failure(repo=server.url("moved", "me:s3cr%2Ft-w%40rd"))
    assert locked.requests() and all(" - me " not in request for request in locked.requests())


def test_a_password_goes_through_a_tunnel_to_its_own_server_alone(shop):
    """libgit2 1.5 fails at a redirect out of a tunnel; later ones may not."""
    tls = Authority(shop.directory / "tls")
    certificate = tls.certificate("localhost")
    (shop.directory / "password").write_text(PASSWORD + "\n")
    options = ["--ca-file", tls.ca, "--user", "me", "--password-file", "password"]
    with GitHttp(shop.directory / "srv", users={"me": PASSWORD}, tls=certificate) as other:
        to = other.url("source/.git", host="localhost")
        with GitHttp(shop.directory / "srv", tls=certificate, lines=f"keepalive_timeout 0; rewrite ^/(.*)$ {to}/$1 redirect;") as server, \
                ConnectProxy() as proxy:
            environment = {"https_proxy": proxy.url()}
            shop.fetch_failure(*options, repo=server.url("moved", host="localhost"), environment=environment)
            assert all(" - me " not in request for request in other.requests())
            shop.fetched(*options, repo=to, environment=environment)
            assert proxy.targets[-1] == f"localhost:{other.port}"


def test_a_password_is_not_told_to_another_server_by_a_plain_proxy_either(shop):
    """nginx takes requests for any host, as a proxy does."""
    (shop.directory / "password").write_text(PASSWORD + "\n")
    options = ["--user", "me", "--password-file", "password"]
    lines = "rewrite ^/moved/(.*)$ http://other.invalid/source/.git/$1 redirect;"
    with GitHttp(shop.directory / "srv", users={"me": PASSWORD}, lines=lines) as server, Relay(server.port) as proxy:
        environment = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        line = shop.fetch_failure(*options, repo="http://own.invalid/moved", environment=environment)
        assert "another server than that of --repo asks for a user" in line
        assert server.requests() and all(" - me " not in request for request in server.requests())
        shop.fetched(*options, repo="http://own.invalid/source/.git", environment=environment)


def test_a_password_is_kept_from_the_compiler(shop):
    shop.source.commit({"provider/build.sh": "env > \"$BUILD_LOG\"\nmkdir -p $1; cp \"$(dirname $0)/plugin.sh\" $1/mock-kms-provider; chmod +x $1/*\n"})
    shop.built(environment={"GIT_PASSWORD": PASSWORD, "GIT_TOKEN": PASSWORD})
    assert PASSWORD not in shop.build_log.read_text()


def test_ssh_keys_and_host_keys_come_from_files(shop):
    with Sshd(shop.directory / "sshd", shop.directory) as server:
        ssh = shop.directory / ".ssh"
        ssh.rename(shop.directory / "keys")
        options = ["--ssh-key", "keys/id_ed25519", "--known-hosts", "keys/known_hosts"]
        assert (shop.fetched(*options, repo=server.url(shop.source.path)).directory / "provider").exists()
        other = shop.directory / "other"
        line = shop.fetch_failure(*options[:2], repo=server.url(shop.source.path), into=other)
        assert "add the host to known_hosts" in line
        line = shop.fetch_failure(*options[2:], repo=server.url(shop.source.path), into=other)
        assert "none of the keys" in line
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", shop.directory / "stranger"], check=True)
        line = shop.fetch_failure("--ssh-key", "stranger", *options[2:], repo=server.url(shop.source.path), into=other)
        assert "does not take the key of --ssh-key" in line


@pytest.mark.parametrize("environment", [{"SSH_AUTH_SOCK": "/nowhere"}, {"SSH_AUTH_SOCK": ""}, {}], ids=str)
@pytest.mark.parametrize("other", ["none", "garbage", "locked", "cut", "pem"])
def test_a_good_ssh_key_counts_beside_others_and_an_agent_that_is_gone(shop, environment, other):
    with Sshd(shop.directory / "sshd", shop.directory) as server:
        ssh = shop.directory / ".ssh"
        (ssh / "id_ed25519").rename(ssh / "id_rsa")  # the last one that is tried
        if other == "locked":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", ssh / "id_ed25519"], check=True)
        elif other != "none":
            (ssh / "id_ed25519").write_text({"garbage": "x\n", "pem": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                                             "cut": (ssh / "id_rsa").read_text()[:200]}[other])
        assert (shop.fetched(repo=server.url(shop.source.path), environment=environment).directory / "provider").exists()


def test_a_good_ssh_key_counts_beside_an_agent_that_hangs(shop):
    agent = socket.socket(socket.AF_UNIX)
    agent.bind(str(shop.directory / "agent"))
    agent.listen(1)
    with agent, Sshd(shop.directory / "sshd", shop.directory) as server:
        done = shop.fetched(repo=server.url(shop.source.path), environment={"SSH_AUTH_SOCK": str(shop.directory / "agent")})
    assert "no ssh agent answers" in done.stderr and "timed out" in done.stderr


@pytest.mark.parametrize("key, words", [("locked", "needs a passphrase; load it into ssh-agent"), ("garbage", "not a private key, or it is damaged")])
def test_an_ssh_key_that_cannot_be_used_is_refused_before_anything_is_done(shop, key, words):
    file = shop.directory / "key"
    if key == "locked":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", file], check=True)
    else:
        file.write_text("x\n")
    done = shop.fetch("--ssh-key", "key", repo="ssh://git@git.invalid/x")
    assert done.returncode == 2 and words in done.stderr


@pytest.mark.parametrize("transport", ["git", "ssh"])
def test_percent_signs_of_a_url_are_decoded(shop, git_daemon, transport):
    place = shop.source.path.parent / "with blank"
    place.mkdir()
    (place / "x.git").symlink_to(shop.source.path / ".git")
    if transport == "git":
        assert (shop.fetched(repo=git_daemon.url("with%20blank/x.git")).directory / "provider").exists()
        return
    with Sshd(shop.directory / "sshd", shop.directory) as server:
        url = server.url(f"{place}/x.git").replace(" ", "%20")
        assert (shop.fetched(repo=url).directory / "provider").exists()


# --- pins ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("transport", ["path", "http", "v0", "git"])
def test_a_pin_lets_one_commit_pass(shop, transport):
    shop.source.git("tag", "-a", "-m", "x", "v1")
    server = {"http": GitHttp, "git": GitDaemon, "v0": lambda directory: GitHttp(directory, version=0)}.get(transport, lambda directory: None)
    server = server(shop.directory / "srv")
    if server:
        server.__enter__()
    repo = server.url("source/.git") if server else shop.source.path
    done = shop.fetched("--commit", shop.commit.upper(), "--ref", "v1", repo=repo)
    assert "ref=v1 pinned=true" in done.stderr
    moved = shop.source.commit({"x": "y"})
    into = shop.directory / "again"
    line = shop.fetch_failure("--commit", shop.commit, "--ref", "main", repo=repo, into=into)
    assert f"cannot use main of {repo}: it is commit {moved}, and --commit demands {shop.commit}; " in line
    assert "pinned=false" in shop.fetched("--ref", "main", repo=repo, into=into).stderr
    if server:
        server.__exit__()


def test_a_pin_that_is_no_commit_id_is_a_usage_error(shop):
    done = shop.fetch("--commit", "main")
    assert done.returncode == 2 and "is not a commit id" in done.stderr


def test_the_pin_holds_for_builds_too(shop):
    shop.built("--commit", shop.commit)
    shop.source.commit({"x": "y"})
    assert "builder: fetch: cannot use HEAD of " in shop.failure("--commit", shop.commit)


# --- limits ----------------------------------------------------------------------------------------------------------

def test_a_server_that_sends_too_much_is_cut_off(workshop, git_http):
    repository = huge_repository.generate(workshop.directory / "srv" / "some.git", files=3_000)
    git(repository, "config", "uploadpack.allowFilter", "false")
    with Relay(git_http.port) as relay:
        line = workshop.fetch_failure("--max-bytes", "50000", "--path", huge_repository.PLUGIN,
                                      repo=git_http.url("some.git", port=relay.port))
        assert " more than 50000 bytes; give narrower --path options, or raise --max-bytes" in line


@pytest.mark.parametrize("place", ["path", "http"])
def test_a_file_that_unpacks_to_too_much_is_never_unpacked(shop, place, request):
    shop.source.commit({"provider/bomb": "0" * 20_000_000})
    repo = shop.source.path if place == "path" else request.getfixturevalue("git_http").url("source/.git")
    line = shop.fetch_failure("--max-bytes", "10000000", repo=repo)
    assert {"path": "cannot check out 'provider/bomb': all files are more than 10000000 bytes",
            "http": "the server's pack unpacks to more than 10000000 bytes; give narrower --path"}[place] in line


@pytest.mark.parametrize("place", ["path", "http"])
def test_a_tree_that_holds_itself_over_and_over_ends_at_the_limit(shop, place, request):
    """Five levels of ten times the same directory are 10^5 files in a kilobyte."""
    tree = shop.source.git("write-tree")
    for _ in range(5):
        tree = shop.source.git("mktree", stdin="".join(f"040000 tree {tree}\tf{i}\n" for i in range(10)))
    shop.source.git("update-ref", "refs/heads/bomb", shop.source.git("commit-tree", "-m", "bomb", tree))
    repo = shop.source.path if place == "path" else request.getfixturevalue("git_http").url("source/.git")
    line = shop.fetch_failure("--ref", "bomb", "--path", "f0", "--max-files", "5000", repo=repo)
    assert "there are more than 5000 files and directories; give narrower --path options, or raise --max-files" in line


# --- hostile trees ---------------------------------------------------------------------------------------------------

def raw_tree(repository, *entries):
    """Stores a tree of (mode, name, content or id) as its bytes are: nothing that git refuses is refused."""
    stored = b""
    for mode, name, content in entries:
        directory = mode == "40000"
        id = content if directory else repository.git("hash-object", "-w", "--stdin", stdin=content)
        stored += mode.encode() + b" " + name.encode() + b"\0" + bytes.fromhex(id)
    (repository.path / ".git" / "raw").write_bytes(stored)
    return repository.git("hash-object", "-w", "--literally", "-t", "tree", ".git/raw")


@pytest.fixture
def hostile(shop, git_http):
    """hostile(entries...) commits them as the directory `sub`; the last line of a fetch that fails."""
    def refusal(*entries):
        outer = raw_tree(shop.source, ("40000", "sub", raw_tree(shop.source, *entries)))
        shop.source.git("update-ref", "refs/heads/hostile", shop.source.git("commit-tree", "-m", "x", outer))
        into = shop.directory / "into"
        line = shop.fetch_failure("--ref", "hostile", "--path", "sub", repo=git_http.url("source/.git"), into=into)
        for repo in (shop.source.path, git_http.url("source/.git")):  # nor does a build write anything
            assert shop.failure("--ref", "hostile", "--path", "sub", "--build", "cmake", repo=repo).removeprefix("builder: checkout: ") == \
                line.removeprefix("builder: ")
        return line
    return refusal


EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@pytest.mark.parametrize("name", [".git", ".GIT", "..", ".Git", "git~1", ".g\u200cit", ".git ", ".git::$DATA", "a\\.git", "nul", "aux.h",
                                  "a/b", "../../escaped", "/etc/escaped", "a\x1b[31m"])
def test_names_that_escape_are_refused_before_anything_is_written(hostile, name):
    shown = name.replace("\x1b", "\\x1b")
    assert hostile(("100644", "0", "fine"), ("100644", name, "x")).startswith(f"builder: cannot check out 'sub/{shown}': ")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "..", "../sub2/../../x", "a/../../x", "../.git/config", "../git~1/config",
                                    "x" * 5000])
def test_links_that_escape_are_refused_before_anything_is_written(hostile, target):
    if target == "..":
        target = "../.."
    line = hostile(("100644", "0", "fine"), ("120000", "link", target))
    assert line.startswith("builder: cannot check out 'sub/link': it is a symbolic link, and ")


def test_links_through_links_cannot_escape(hostile):
    """down/.. is the parent of what `down` points to: a path that goes up after it went down is refused."""
    assert "goes down and up again" in hostile(("120000", "down", "a"), ("120000", "out", "down/../../../etc"))


def test_a_link_that_stands_for_a_directory_of_another_case_is_refused(hostile):
    assert "in case alone, and one of them is a symbolic link" in hostile(("120000", "A", "../elsewhere"), ("40000", "a", EMPTY_TREE))


def test_names_that_differ_in_case_alone_are_named(shop, git_http):
    shop.source.commit({"provider/README": "1", "provider/readme": "2"})
    done = shop.fetched("--path", "provider", repo=git_http.url("source/.git"))
    assert ' one=provider/README other=provider/readme pairs=1' in done.stderr
    assert (done.directory / "provider" / "README").read_text() == "1"


@pytest.mark.parametrize("mode", ["20644", "60644", "10644"])
def test_devices_and_pipes_are_refused(hostile, mode):
    assert "neither a file nor a directory nor a link" in hostile((mode, "x", "y"))
