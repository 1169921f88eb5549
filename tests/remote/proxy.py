"""A proxy before a server: it cuts connections, or drops a part of the query."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit


class Proxy(ThreadingHTTPServer):
    """Passes GET requests on.

    Attributes:
        cut_at: Bytes of a long answer after which the connection ends.
        cuts: How many answers are still to be cut.
        part: Of a path: other requests are passed on whole.
        without: A parameter of the query that is dropped.
    """

    daemon_threads = True

    def __init__(self, server: str, cut_at: int, cuts: int, part: str, without: str):
        super().__init__(("127.0.0.1", 0), Passing)
        self.server, self.cut_at, self.cuts, self.part, self.without = server, cut_at, cuts, part, without

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Passing(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = [(key, value) for key, value in parse_qsl(asked.query) if key != self.server.without]
        url = f"{self.server.server}{asked.path}" + (f"?{urlencode(query)}" if query else "")
        request = urllib.request.Request(url, headers={"Accept": self.headers.get("Accept", "*/*")})
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"] or "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.part in self.path and len(content) > self.server.cut_at and self.server.cuts > 0:
            self.server.cuts -= 1
            content = content[: self.server.cut_at]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_proxy(
    server: str, cut_at: int = 0, cuts: int = 0, part: str = "", without: str = ""
) -> Iterator[Proxy]:
    """Run a proxy before a server in a ``with`` block."""
    with Proxy(server, cut_at, cuts, part, without) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
