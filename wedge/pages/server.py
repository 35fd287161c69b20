"""A page for one reader on this machine: on the loopback address alone, behind a word that nobody guesses, from the standard library."""

import hashlib
import json
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from wedge.errors import UsageError

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NAMES_OF_HERE = ("127.0.0.1", "localhost", "[::1]")
_LONGEST_WAIT = 25.0
_LOOK_SECONDS = 0.25
_MOST_READERS = 32
_MOST_CONNECTIONS = 64
_PIECE_BYTES = 2**17
_CLOSING_SECONDS = 2.0
_BETWEEN_SECONDS = 3.0  # a page asks again half a second after an answer, or later where much else is going on
_JSON, _BYTES = "application/json", "application/octet-stream"


class Source(Protocol):
    """What a page shows."""

    def look(self) -> dict[str, Any]:
        """Return the state as plain data."""
        ...

    def stamp(self) -> str:
        """Return a word that changes with the state; it costs next to nothing."""
        ...

    def data(self, name: str) -> tuple[str, Any] | None:
        """Return version and content of ``preview``, ``spectrum`` or ``curves``."""
        ...


@dataclass(frozen=True)
class Page:
    """The fixed files of a page: ``{name: (content type, content)}``; ``""`` is the page itself."""

    files: Mapping[str, tuple[str, Callable[[], bytes]]]


class PageServer:
    """Serves a page until it is closed, from threads of its own.

    Parameters
    ----------
    source
        What is shown.
    page
        The files that show it.
    port
        0 for one that is free.

    Raises
    ------
    UsageError
        If the port is taken or not for everybody.
    """

    def __init__(self, source: Source, page: Page, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(32)
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(f"--port {port} cannot be had: {error.strerror}; choose another, or leave it out") from error
        self._server.source, self._server.page, self._server.token = source, page, self.token
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="wedge-page", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    @property
    def tunnel(self) -> str:
        """The command that brings the page to another machine."""
        return f"ssh -L {self.port}:{HOST}:{self.port} {socket.gethostname()}"

    def close(self) -> None:
        """Give those that wait the last state, and end."""
        now = time.monotonic()
        self._server.closing.set()
        self._server.idle.wait(_CLOSING_SECONDS)
        # Asked for only now: who has just read an answer is written down a moment later, before the server is idle.
        if now - self._server.answered < _BETWEEN_SECONDS:
            # Somebody watches, and would never hear how it ended.
            self._server.told.wait(_CLOSING_SECONDS)
            self._server.idle.wait(_CLOSING_SECONDS)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_CLOSING_SECONDS)


def _as_json(data: Any) -> bytes:
    """Return data as JSON that browsers read: they know no NaN, as of a loss that has diverged."""
    try:
        return json.dumps(data, default=str, allow_nan=False).encode()
    except ValueError:
        return json.dumps(json.loads(json.dumps(data, default=str), parse_constant=lambda word: None)).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 16
    source: Source
    page: Page
    token: str

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.closing, self.idle, self.told = threading.Event(), threading.Event(), threading.Event()
        self.answered = -float("inf")  # when somebody who watches was told the state
        self.idle.set()
        self._busy, self._lock = 0, threading.Lock()
        self.places = threading.BoundedSemaphore(_MOST_READERS)
        self.connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Without the look-up of a name, which may take long where there is no network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        # Each connection is a thread and an open file, of a fit's process maybe, which no other user of the machine may use up.
        if not self.connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a reader that went away is no error."""

    def busy(self, change: int) -> None:
        with self._lock:
            self._busy += change
            (self.idle.clear if self._busy else self.idle.set)()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version, server_version, sys_version, timeout = "HTTP/1.1", "wedge", "", 60

    def do_GET(self) -> None:
        """Answer a request."""
        if not self.server.places.acquire(blocking=False):
            self._refuse(503, "too many readers")
            return
        self.server.busy(+1)
        try:
            self._answer()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            self.server.busy(-1)
            self.server.places.release()

    def do_HEAD(self) -> None:
        """Answer a request without its body."""
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request of a page, methods that change things among it."""
        self._refuse(405 if code == 501 else code, "only GET and HEAD" if code == 501 else message or "refused")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep silent: the token would be in the log."""

    def _answer(self) -> None:
        # A name that leads here from elsewhere is how foreign pages reach a loopback server; the port may be a tunnel's.
        host = self.headers.get("Host", "")
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
        if name.lower() not in _NAMES_OF_HERE or (port and not port.isdecimal()):
            self._refuse(403, "not a name of this machine")
            return
        try:
            url = urlsplit(self.path)
        except ValueError:
            self._refuse(400, "not an address")
            return
        token, slash, rest = url.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(404, "nothing here: the address has a word that is missing or wrong")
        elif not slash:
            self._send(308, "text/plain", b"", {"Location": f"/{self.server.token}/"})
        elif rest in self.server.page.files:
            kind, content = self.server.page.files[rest]
            self._send(200, kind, content())
        elif rest == "state":
            self._send_state(parse_qs(url.query))
        elif rest in ("preview", "spectrum", "curves"):
            self._send_data(rest)
        else:
            self._refuse(404, "nothing here")

    def _send_state(self, query: dict[str, list[str]]) -> None:
        """Send the state; with ``wait``, when it is another than the reader has, or after so many seconds."""
        try:
            wait = min(_LONGEST_WAIT, max(0.0, float(query.get("wait", ["0"])[0])))
        except ValueError:
            wait = 0.0
        known, waited, stamp = self.headers.get("If-None-Match"), 0.0, None
        while True:
            closing = self.server.closing.is_set()
            if (now := self.server.source.stamp()) != stamp or waited % 1.0 < _LOOK_SECONDS or closing:
                stamp = now
                state = self.server.source.look() | ({"closing": True} if closing else {})
                body = _as_json(state)
                tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            if tag != known or waited >= wait:
                break
            self.server.closing.wait(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        self._send_tagged(_JSON, body, tag)
        if "wait" in query:
            self.server.answered = time.monotonic()
        if closing:
            self.server.told.set()

    def _send_data(self, name: str) -> None:
        found = self.server.source.data(name)
        if found is None:
            self._refuse(404, f"no {name} yet")
            return
        version, content = found
        tag = f'"{hashlib.blake2b(version.encode(), digest_size=12).hexdigest()}"'
        body = content if isinstance(content, bytes) else _as_json(content)
        self._send_tagged(_BYTES if isinstance(content, bytes) else _JSON, body, tag)

    def _send_tagged(self, kind: str, body: bytes, tag: str) -> None:
        same = self.headers.get("If-None-Match") == tag
        self._send(304 if same else 200, kind, b"" if same else body, {"ETag": tag})

    def _refuse(self, code: int, text: str) -> None:
        self.close_connection = True
        self._send(code, "text/plain; charset=utf-8", f"{text}\n".encode(), {"Allow": "GET, HEAD"} if code == 405 else {})

    def _send(self, code: int, kind: str, body: bytes, more: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {**_HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        if code != 304:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and code != 304:
            # In pieces: the time that a reader may take is for each, and a slow line takes long for all.
            for start in range(0, len(body), _PIECE_BYTES):
                self.wfile.write(body[start : start + _PIECE_BYTES])
