"""Laws of the server: one reader with the word, reading only, from this machine, and nothing else of it."""

import http.client
import json
import socket
import threading
import time

import pytest

from wedge.errors import UsageError
from wedge.pages.server import HOST, POLICY, Page, PageServer, _Handler

PICTURE = bytes(range(256)) * 4


class Source:
    def __init__(self) -> None:
        self.state = {"state": "running", "step": 1}
        self.pictures = {"preview": ("v1", PICTURE), "curves": ("c1", {"loss": [[1], [0.5]]})}

    def look(self):
        return dict(self.state)

    def stamp(self):
        return json.dumps(self.state)

    def data(self, name):
        return self.pictures.get(name)


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def server(source):
    page = Page({"": ("text/html; charset=utf-8", lambda: b"<!doctype html>"), "vendor/a.js": ("text/javascript", lambda: b"1")})
    made = PageServer(source, page)
    yield made
    made.close()


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def inside(server, name=""):
    return f"/{server.token}/{name}"


def test_it_listens_on_the_loopback_address_alone(server):
    assert server.address == f"http://127.0.0.1:{server.port}/{server.token}/"
    assert server._server.socket.getsockname()[0] == "127.0.0.1"
    assert f"-L {server.port}:127.0.0.1:{server.port} " in server.tunnel


def test_the_word_is_long_and_of_this_server_alone(server, source):
    other = PageServer(source, Page({}))
    other.close()
    assert len(server.token) >= 43
    assert server.token != other.token


@pytest.mark.parametrize("path", ["/", "/state", "/{wrong}/", "/{wrong}/state", "/{short}/state", "/favicon.ico", "/{token}x/"])
def test_without_the_word_there_is_nothing(server, path):
    wrong = ("a" if server.token[0] != "a" else "b") + server.token[1:]
    answer, body = ask(server, path.format(wrong=wrong, short=server.token[:-1], token=server.token))
    assert answer.status == 404
    assert server.token.encode() not in body
    assert b"running" not in body


def test_the_word_opens_page_files_and_state(server):
    for name, kind, body in [("", "text/html; charset=utf-8", b"<!doctype html>"), ("vendor/a.js", "text/javascript", b"1")]:
        answer, found = ask(server, inside(server, name))
        assert (answer.status, answer.headers["Content-Type"], found) == (200, kind, body)
    answer, found = ask(server, inside(server, "state"))
    assert json.loads(found) == {"state": "running", "step": 1}
    assert ask(server, inside(server, "preview"))[1] == PICTURE
    assert json.loads(ask(server, inside(server, "curves"))[1]) == {"loss": [[1], [0.5]]}
    assert ask(server, inside(server, "spectrum"))[0].status == 404
    answer, _ = ask(server, f"/{server.token}")
    assert (answer.status, answer.headers["Location"]) == (308, inside(server))


@pytest.mark.parametrize(
    "path",
    ["../server.py", "..%2fserver.py", "vendor/../../server.py", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "a.js", "vendor/", "state/x"],
)
def test_names_lead_nowhere_else(server, path):
    assert ask(server, inside(server, path))[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_only_reading_is_answered(server, method):
    answer, _ = ask(server, inside(server, "state"), method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_and_no_body(server):
    (whole, body), (head, nothing) = (ask(server, inside(server, "preview"), method) for method in ("GET", "HEAD"))
    assert nothing == b""
    assert (head.status, head.headers["Content-Length"], head.headers["ETag"]) == (200, str(len(body)), whole.headers["ETag"])
    # A client that knows HTTP looks at no body, and takes it for the next answer.
    with socket.create_connection((HOST, server.port), timeout=10) as reader:
        reader.sendall(f"HEAD {inside(server, 'preview')} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: reader.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


def test_nobody_waits_for_longer_than_the_server_wants(server, monkeypatch):
    monkeypatch.setattr("wedge.pages.server._LONGEST_WAIT", 0.5)
    tag = ask(server, inside(server, "state"))[0].headers["ETag"]
    for wait in ("999", "inf", "nan", "x"):  # `ask` itself waits for ten seconds
        assert ask(server, inside(server, f"state?wait={wait}"), If_None_Match=tag)[0].status == 304


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8000", "LOCALHOST:1", "[::1]:80", "[::1]", "127.0.0.1:65535"])
def test_names_of_this_machine_are_answered_whatever_the_tunnels_port(server, host):
    assert ask(server, inside(server, "state"), Host=host)[0].status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil:1", "", "127.0.0.1:x", "0.0.0.0"]
)
def test_foreign_names_that_lead_here_are_refused(server, host):
    answer, body = ask(server, inside(server, "state"), Host=host)
    assert answer.status == 403
    assert b"running" not in body


def test_every_answer_has_the_headers_that_keep_others_out(server):
    paths = {"/": 404, inside(server): 200, inside(server, "state"): 200, inside(server, "preview"): 200, inside(server, "nothing"): 404}
    for path, code in paths.items():
        answer, _ = ask(server, path)
        assert answer.status == code
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "python" not in answer.headers["Server"].lower()
    assert "unsafe-eval" not in POLICY
    assert POLICY.startswith("default-src 'none'")
    refused, _ = ask(server, inside(server), "POST")
    assert refused.headers["Content-Security-Policy"] == POLICY


def test_what_is_known_is_not_sent_again(server, source):
    for name in ("state", "preview", "curves"):
        first, _ = ask(server, inside(server, name))
        again, body = ask(server, inside(server, name), If_None_Match=first.headers["ETag"])
        assert (again.status, body) == (304, b"")
        assert ask(server, inside(server, name), If_None_Match='"other"')[0].status == 200
    first, _ = ask(server, inside(server, "preview"))
    source.pictures["preview"] = ("v2", PICTURE[::-1])
    again, body = ask(server, inside(server, "preview"), If_None_Match=first.headers["ETag"])
    assert (again.status, body) == (200, PICTURE[::-1])


def test_what_is_no_number_is_null_as_browsers_want_it(server, source):
    source.state |= {"scalars": {"loss": float("nan"), "data": [1.5, float("inf")]}}
    source.pictures["curves"] = ("c2", {"loss": [[1.0], [float("nan")]]})
    state, curves = (ask(server, inside(server, name))[1] for name in ("state", "curves"))
    assert b"NaN" not in state + curves
    assert json.loads(state)["scalars"] == {"loss": None, "data": [1.5, None]}
    assert json.loads(curves) == {"loss": [[1.0], [None]]}


def test_a_reader_that_waits_hears_of_a_change_at_once(server, source):
    tag = ask(server, inside(server, "state"))[0].headers["ETag"]
    threading.Timer(0.4, lambda: source.state.update(step=2)).start()
    begun = time.monotonic()
    answer, body = ask(server, inside(server, "state?wait=9"), If_None_Match=tag)
    assert json.loads(body)["step"] == 2
    assert 0.2 < time.monotonic() - begun < 8
    assert ask(server, inside(server, "state?wait=0.3"), If_None_Match=answer.headers["ETag"])[0].status == 304
    assert ask(server, inside(server, "state?wait=nonsense"))[0].status == 200


def test_who_waits_is_given_the_last_state_when_it_closes(server, source):
    tag = ask(server, inside(server, "state"))[0].headers["ETag"]
    until(lambda: not server._server._busy)  # the answer is read before the server's thread is done with it
    heard = []
    waiting = threading.Thread(target=lambda: heard.append(ask(server, inside(server, "state?wait=20"), If_None_Match=tag)[1]))
    waiting.start()
    until(lambda: server._server._busy)
    source.state["state"] = "ended"
    begun = time.monotonic()
    server.close()
    waiting.join(60)
    assert json.loads(heard[0]) == {"state": "ended", "step": 1, "closing": True}
    assert time.monotonic() - begun < 15
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, server.port), timeout=5)


def test_who_asks_again_a_little_later_is_given_the_last_state_too(server, source, monkeypatch):
    """A page that is shown a state asks for the next one half a second later, when the fit may have ended."""
    # Half a second is longer on a machine that has much else to do: the server may wait longer, for it goes on once it was asked.
    monkeypatch.setattr("wedge.pages.server._CLOSING_SECONDS", 60.0)
    monkeypatch.setattr("wedge.pages.server._BETWEEN_SECONDS", 60.0)
    send = _Handler._send_tagged
    # The answer is read while the server is not yet done with it.
    monkeypatch.setattr(_Handler, "_send_tagged", lambda handler, *answer: (send(handler, *answer), time.sleep(0.3)))
    ask(server, inside(server, "state?wait=0"))
    source.state["state"] = "ended"
    closing = threading.Thread(target=server.close)
    closing.start()
    until(server._server.closing.is_set)
    time.sleep(0.5)
    assert json.loads(ask(server, inside(server, "state?wait=0"))[1]) == {"state": "ended", "step": 1, "closing": True}
    closing.join(120)
    assert not closing.is_alive()


def test_a_port_that_is_taken_is_one_line(server, source):
    with pytest.raises(UsageError, match=rf"--port {server.port} cannot be had: .*choose another"):
        PageServer(source, Page({}), server.port)


def test_a_reader_may_be_slow_as_long_as_it_reads(server, source, monkeypatch):
    """The limit is for a piece and not for the whole, which over a slow line takes longer."""
    monkeypatch.setattr("wedge.pages.server._Handler.timeout", 2.0)
    source.pictures["preview"] = ("v2", b"x" * 2**23)
    begun, got = time.monotonic(), 0
    with socket.create_connection((HOST, server.port), timeout=10) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        reader.sendall(f"GET {inside(server, 'preview')} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        while part := reader.recv(2**18):
            got += len(part)
            if time.monotonic() - begun < 4:
                time.sleep(0.1)
    assert got > 2**23


def test_no_more_connections_are_held_than_a_page_needs(server):
    """Each is a file of the fit's process: who may not read could use them all up."""
    held = [socket.create_connection((HOST, server.port), timeout=10) for _ in range(64)]
    until(lambda: server._server.connections._value == 0)
    with socket.create_connection((HOST, server.port), timeout=10) as one_more:
        assert one_more.recv(1) == b""
    for each in held:
        each.close()
    until(lambda: server._server.connections._value == 64)
    assert ask(server, inside(server, "state"))[0].status == 200


def test_many_readers_and_nonsense_do_no_harm(server, capfd):
    silent = [socket.create_connection((HOST, server.port)) for _ in range(40)]
    for each, word in zip(
        silent, [b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"a" * 70000 + b" HTTP/1.1\r\n\r\n"], strict=False
    ):
        each.sendall(word)
    assert ask(server, inside(server, "state"))[0].status == 200
    for each in silent:
        each.close()
    assert ask(server, inside(server, "state"))[0].status == 200
    assert capfd.readouterr().err == ""
