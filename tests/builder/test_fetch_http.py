"""Everything between a client and a server: connections, redirects, passwords, proxies, certificates."""
import email.utils
import time

import pytest
from conftest import project
from support.git_servers import ConnectProxy, GitHttp
from support.hostile_git import LongHeadServer
from support.relay import Relay
from support.tls import Authority


@pytest.fixture
def shop(workshop):
    workshop.source.git("config", "uploadpack.allowFilter", "true")
    workshop.source.commit(project())
    return workshop


def fetch(shop, url, **more):
    done = shop.fetched("--path", "provider", repo=url, **more)
    assert (done.directory / "provider" / "plugin.sh").exists()
    return done


def test_one_connection_is_enough(shop, git_http):
    with Relay(git_http.port) as relay:
        done = fetch(shop, git_http.url("source/.git", port=relay.port))
        assert relay.connections == 1
        assert done.bytes == relay.received
        assert done.requests == len(git_http.requests()) == 4


def test_a_server_that_closes_after_each_answer(shop):
    with GitHttp(shop.directory / "srv", lines="keepalive_timeout 0;") as server, Relay(server.port) as relay:
        done = fetch(shop, server.url("source/.git", port=relay.port))
        assert relay.connections == done.requests == 4


def test_a_kept_connection_that_is_gone_is_made_anew(shop, git_http):
    with Relay(git_http.port, drop_second=True) as relay:
        fetch(shop, git_http.url("source/.git", port=relay.port))
        assert relay.connections == 2


def test_a_redirect_is_followed(shop, git_http):
    to = git_http.url("source/.git")
    with GitHttp(shop.directory / "srv", lines=f"rewrite ^/moved/(.*)$ {to}/$1 redirect;") as server:
        fetch(shop, server.url("moved"))
        assert len(server.requests()) == 1


def test_a_password_that_is_right_and_one_that_is_wrong(shop):
    with GitHttp(shop.directory / "srv", users={"me": "right-one"}) as server:
        fetch(shop, server.url("source/.git", "me:right-one"))
        line = shop.fetch_failure(repo=server.url("source/.git", "me:wrong-one"), into=shop.directory / "other")
        assert "refuses" in line and "wrong-one" not in line
        assert "asks for a user" in shop.fetch_failure(repo=server.url("source/.git"), into=shop.directory / "other")


def test_not_found(shop, git_http):
    assert "404" in shop.fetch_failure(repo=git_http.url("nothing.git"))


def test_a_page_that_is_no_git(shop):
    """Neither by what it says it is, nor by what it is."""
    pages = "".join(f'location /{name} {{ default_type {kind}; return 200 "<html>"; }}' for name, kind in
                    (("page", "text/html"), ("lie", "application/x-git-upload-pack-advertisement")))
    with GitHttp(shop.directory / "srv", lines=pages) as server:
        page, lie = server.url("page"), server.url("lie")
        step = "the server does not speak git's protocol there: is --repo the URL of a repository?"
        assert shop.fetch_failure(repo=page) == f"builder: cannot reach {page}: invalid content-type: 'text/html'; {step}"
        assert shop.fetch_failure(repo=lie) == \
            f"builder: cannot fetch from {lie}: the server's answer is not git's protocol; check that --repo is the URL of a repository"


def test_trouble_in_the_server(shop):
    with GitHttp(shop.directory / "srv", lines="location /down { return 503; }") as server:
        assert "503; the server is in trouble" in shop.fetch_failure(repo=server.url("down"))


def test_a_proxy_of_the_environment_is_used(shop, git_http):
    # Any server that answers absolute URLs does: what arrives there shows who was asked.
    with Relay(git_http.port) as proxy:
        environment = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        fetch(shop, "http://no-such-host.invalid/source/.git", environment=environment)
        assert proxy.connections >= 1


# --- TLS -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def https(shop):
    """A server whose certificate is for the name localhost alone, and the CA that signed it."""
    tls = Authority(shop.directory / "tls")
    with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost")) as server:
        server.ca = tls.ca
        yield server


def test_an_unknown_authority_is_refused(shop, https):
    line = shop.fetch_failure(repo=https.url("source/.git", host="localhost"))
    assert "certificate" in line and "; give the certificate of the server's CA by --ca-file" in line
    assert https.requests() == []


def test_an_own_authority_is_trusted_where_it_is_named(shop, https):
    done = shop.fetched("--ca-file", https.ca, "--path", "provider", repo=https.url("source/.git", host="localhost"))
    assert done.strategy == "v2, three directory levels a request"


def test_a_certificate_for_another_host_is_refused(shop, https):
    line = shop.fetch_failure("--ca-file", https.ca, repo=https.url("source/.git", host="127.0.0.1"))
    assert "certificate" in line
    assert https.requests() == []


def test_a_certificate_that_is_expired_is_refused(shop):
    tls = Authority(shop.directory / "tls")
    with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost", days=-1)) as server:
        line = shop.fetch_failure("--ca-file", tls.ca, repo=server.url("source/.git", host="localhost"))
        assert "certificate" in line
        assert server.requests() == []


def test_an_address_in_a_certificate_counts(shop):
    tls = Authority(shop.directory / "tls")
    with GitHttp(shop.directory / "srv", tls=tls.certificate("127.0.0.1")) as server:
        shop.fetched("--ca-file", tls.ca, "--path", "provider", repo=server.url("source/.git"))


def test_a_server_may_speak_only_the_newest_tls(shop):
    tls = Authority(shop.directory / "tls")
    with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost"), lines="ssl_protocols TLSv1.3;") as server:
        shop.fetched("--ca-file", tls.ca, "--path", "provider", repo=server.url("source/.git", host="localhost"))


def test_a_redirect_from_https_to_http_is_refused(shop, git_http):
    tls = Authority(shop.directory / "tls")
    to = git_http.url("source/.git")
    with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost"), lines=f"rewrite ^/moved/(.*)$ {to}/$1 redirect;") as server:
        line = shop.fetch_failure("--ca-file", tls.ca, repo=server.url("moved", host="localhost"))
    assert "give --repo the URL that the server redirects to" in line and git_http.requests() == []


@pytest.mark.parametrize("header", ["3", "date"])
def test_the_wait_that_a_server_asks_for_is_kept_over_tls(shop, header):
    tls = Authority(shop.directory / "tls")
    if header == "date":
        header = email.utils.formatdate(time.time() + 1000, usegmt=True)
    lines = f'location /busy {{ add_header Retry-After "{header}" always; return 503; }}'
    with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost"), lines=lines) as server:
        line = shop.fetch_failure("--ca-file", tls.ca, "--fetch-retries", "1", "--fetch-deadline", "100s", repo=server.url("busy", host="localhost"))
    assert "the server asks to wait" in line and ("3.0 s" in line if header == "3" else "16 m" in line or "16m" in line)


def test_the_text_of_a_server_that_answers_with_an_error_is_shown(shop):
    """But no page of HTML, and no more than a line of it."""
    lines = """location /plain/ { default_type text/plain; return 400 "give multi_ack\nor go\n"; }
        location /html/ { default_type text/html; return 400 "<html>"; }"""
    with GitHttp(shop.directory / "srv", lines=lines) as server:
        assert r"unexpected http status code: 400: 'give multi_ack\x0aor go'; check --repo" in shop.fetch_failure(repo=server.url("plain/x"))
        assert "unexpected http status code: 400; check --repo" in shop.fetch_failure(repo=server.url("html/x"))


# --- a proxy for TLS -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_https_goes_through_a_tunnel_of_the_proxy(shop, https, variable):
    with ConnectProxy() as proxy:
        done = shop.fetched("--ca-file", https.ca, "--path", "provider", repo=https.url("source/.git", host="localhost"),
                            environment={variable: proxy.url()})
        assert (done.directory / "provider" / "plugin.sh").exists()
        assert proxy.targets == [f"localhost:{https.port}"]


def test_the_proxys_own_login_is_sent_to_it_alone_and_never_shown(shop):
    tls = Authority(shop.directory / "tls")
    record = shop.directory / "sent"  # what the server is told
    lines = f"access_log {record} told; "
    with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost"), lines=lines,
                 log_format='told "$http_authorization|$http_proxy_authorization"') as server, ConnectProxy(login="me:prox-y") as proxy:
        repo = server.url("source/.git", host="localhost")
        done = shop.fetched("--ca-file", tls.ca, "--path", "provider", "--log-level", "debug", repo=repo,
                            environment={"https_proxy": proxy.url("me:prox-y")})
        assert "prox-y" not in done.stdout + done.stderr
        assert proxy.targets == [f"localhost:{server.port}"], "a tunnel is made with the login alone"
        assert set(record.read_text().split()) == {"-|-"}
        line = shop.fetch_failure("--ca-file", tls.ca, repo=repo, environment={"https_proxy": proxy.url("me:wr-ong")},
                                  into=shop.directory / "other")
        assert line.startswith(f"builder: cannot reach {repo}: ") and "wr-ong" not in line
        assert len(proxy.targets) == 1


@pytest.mark.parametrize("place", ["", ":8080", "/"])
def test_the_login_of_a_proxy_whose_url_is_wrong_is_not_shown(shop, place):
    done = shop.fetch(repo="https://localhost:1/x.git", environment={"https_proxy": f"http://me:prox-y@{place}"})
    assert done.returncode == 1 and "prox-y" not in done.stderr, done.stderr


def test_hosts_without_a_proxy(shop, https):
    with ConnectProxy() as proxy:
        shop.fetched("--ca-file", https.ca, "--path", "provider", repo=https.url("source/.git", host="localhost"),
                     environment={"https_proxy": proxy.url(), "no_proxy": "example.org,localhost"})
        assert proxy.targets == []


def test_a_certificate_is_checked_behind_a_proxy_too(shop, https):
    with ConnectProxy() as proxy:
        line = shop.fetch_failure(repo=https.url("source/.git", host="localhost"), environment={"https_proxy": proxy.url()})
        assert "certificate" in line and proxy.targets
        assert https.requests() == []


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_that_refuses_is_named(shop, https, status):
    with ConnectProxy(status=status) as proxy:
        line = shop.fetch_failure("--ca-file", https.ca, repo=https.url("source/.git", host="localhost"),
                                  environment={"https_proxy": proxy.url()})
        assert line.startswith("builder: cannot reach https://localhost:")
        assert https.requests() == []


# --- next steps ------------------------------------------------------------------------------------------------------

LONG_LINES = pytest.mark.parametrize("line", [b"x" * 65536, b"X-Long: " + b"x" * 60_000 + b"\r\n", b"X: y\r\n" * 1000],
                                     ids=["one line", "long lines", "many lines"])


@LONG_LINES
def test_headers_without_an_end_are_named_and_not_tried_again(shop, line):
    with LongHeadServer(line) as server:
        url = server.url("/x.git")
        text = shop.fetch_failure("--fetch-retries", "3", repo=url)
        assert text == f"builder: cannot reach {url}: the headers of the answer are too long; check host and port in --repo, " \
            "and the server's settings: no git server sends such headers"
        assert server.requests == 1


@LONG_LINES
def test_headers_without_an_end_behind_a_redirect_are_named(shop, line):
    with LongHeadServer(line, redirects=1) as server:
        assert "the headers of the answer are too long" in shop.fetch_failure("--fetch-retries", "3", repo=server.url("/x.git"))
        assert server.requests == 2


@LONG_LINES
def test_a_proxy_whose_headers_have_no_end_is_named(shop, https, line):
    with LongHeadServer(line) as proxy:
        text = shop.fetch_failure("--fetch-retries", "3", repo=https.url("x.git", host="localhost"), environment={"https_proxy": proxy.url()})
        assert "the headers of the answer are too long (through the proxy of https_proxy); check https_proxy, and " in text
        assert proxy.requests == 1


@pytest.mark.parametrize("scheme, variable", [("http", "http_proxy"), ("https", "https_proxy")])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "http://no-such-proxy.invalid:3128"])
def test_a_proxy_that_cannot_be_reached_is_named_as_such(shop, scheme, variable, proxy):
    line = shop.fetch_failure(repo=f"{scheme}://git.example/x.git", environment={variable: proxy})
    assert f"(the proxy of {variable}); check {variable}, or add the host of --repo to no_proxy" in line


@pytest.mark.parametrize("status, step", [("407 Who", "put the login into the proxy's URL, as USER:PASSWORD@ before the host"), ("403 No", "permission to use the proxy"),
                                          ("502 Bad", "and the proxy: it cannot reach the server")])
def test_a_proxy_that_refuses_a_tunnel_has_a_next_step(shop, https, status, step):
    with ConnectProxy(status=status) as proxy:
        line = shop.fetch_failure(repo=https.url("source/.git"), environment={"https_proxy": proxy.url()})
    assert step in line


@pytest.mark.parametrize("no_proxy", [{"no_proxy": "127.0.0.0/8"}, {"no_proxy": "127.0.0.1/32"}, {"no_proxy": "a.example 127.0.0.1"},
                                      {"NO_PROXY": "x, 127.0.0.1"}], ids=str)
def test_a_server_that_no_proxy_names_is_reached_without_one(shop, git_http, no_proxy):
    fetch(shop, git_http.url("source/.git"), environment={"http_proxy": "http://127.0.0.1:1", **no_proxy})


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
def test_a_server_of_pages_is_asked_whether_it_is_one_of_git(shop, kind):
    page = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode()
    with Relay(1, answers=[page] * 3) as relay:
        line = shop.fetch_failure(repo=f"http://127.0.0.1:{relay.port}/x.git")
    assert "the server does not speak git's protocol there: is --repo the URL of a repository?" in line


@pytest.mark.parametrize("to, cause", [("http://127.0.0.1:1", "Connection refused"), ("http://no-such-host.invalid:80", "Could not resolve")])
def test_a_server_behind_a_redirect_is_named(shop, to, cause):
    moved = f"HTTP/1.1 302 Moved\r\nLocation: {to.replace('//', '//me:hidden@')}/x.git/info/refs\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with Relay(1, answers=[moved.encode()] * 3) as relay:
        line = shop.fetch_failure(repo=f"http://127.0.0.1:{relay.port}/x.git")
    assert cause in line and f"(redirected to {to}); check that server and the redirect" in line
    assert "hidden" not in line


def test_a_login_that_is_asked_for_after_the_advertisement_is_given(shop):
    (shop.directory / "users").write_text("me:{PLAIN}right-one\n")
    only_posts = (f'set $realm off; if ($request_method = POST) {{ set $realm tests; }} '
                  f'auth_basic $realm; auth_basic_user_file {shop.directory}/users;')
    with GitHttp(shop.directory / "srv", lines=only_posts) as server:
        fetch(shop, server.url("source/.git", "me:right-one"))
        other = shop.directory / "other"
        assert "refuses the user" in shop.fetch_failure(repo=server.url("source/.git", "me:wrong-one"), into=other)
        assert "none is given" in shop.fetch_failure(repo=server.url("source/.git"), into=other)


@pytest.mark.parametrize("proxy", ["http://me:hidden", "foo://me:hidden@127.0.0.1:1", "http://me:hidden@127.0.0.1:port"])
def test_a_malformed_proxy_is_not_shown_and_not_tried_again(shop, proxy):
    done = shop.fetch("--fetch-retries", "3", repo="http://git.example/x.git", environment={"http_proxy": proxy})
    assert done.returncode == 1 and "hidden" not in done.stderr
    assert "trying the fetch again" not in done.stderr
    assert done.stderr.endswith("(the proxy of http_proxy); check http_proxy, or add the host of --repo to no_proxy\n")
