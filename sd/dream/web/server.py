"""A web server for the page on this machine alone, with the headers that a browser wants before it allows threads."""

import errno
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dream.common.errors import InputError

HOST, PORTS_TRIED = "127.0.0.1", 20
HEADERS = {
    # A page with these two may share memory between threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",  # ask each time whether a file is new: an export may have replaced it
}


class PageHandler(SimpleHTTPRequestHandler):
    """Serves the files of a folder with HEADERS; logs nothing."""

    # not as the system's tables say: without these types a browser refuses modules
    extensions_map = {  # noqa: RUF012  of the base class
        "": "application/octet-stream",
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".txt": "text/plain; charset=utf-8",
    }
    headers_sent = HEADERS

    def end_headers(self) -> None:
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass

    def list_directory(self, path: str) -> None:
        self.send_error(404)


class PageServer(ThreadingHTTPServer):
    """Its threads end with the process; a browser that goes away is no error."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # on Windows it would share the port of another server

    def handle_error(self, *_: object) -> None:
        pass


def open_server(folder: Path, port: int, handler: type = PageHandler) -> PageServer:
    """A server of `folder` at `port`, or at the next free one; 0: any. Raises InputError if there is none."""
    for number in range(port, port + PORTS_TRIED):
        try:
            return PageServer((HOST, number), partial(handler, directory=str(folder)))
        except (OSError, OverflowError) as problem:
            if getattr(problem, "errno", None) == errno.EACCES and number < 1024:
                raise InputError(f"port {number} needs root: choose a --port from 1024 to 65535") from None
            if getattr(problem, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
                raise InputError(f"no server at port {number} ({problem}): choose another --port") from None
    raise InputError(
        f"ports {port} to {port + PORTS_TRIED - 1} are in use or not allowed: choose another --port"
    )


def address(server: PageServer) -> str:
    return f"http://{HOST}:{server.server_address[1]}/"


def serve(folder: Path, port: int) -> None:
    """Serves `folder` until Ctrl-C."""
    with open_server(folder, port) as server:
        print(f"open {address(server)} in a browser; Ctrl-C ends the server", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
