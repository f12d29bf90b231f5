"""The report as a live page of this machine: it follows the study while it runs."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import JOURNAL
from tune_seeds.views.report.page import page

_LOOPBACK = "127.0.0.1"


class LivePage:
    """The page of an experiment, made again when its journal has grown.

    Args:
        path: the experiment's directory, local or any URI that Ray takes.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._directory = ExperimentDir.at(path)
        self._lock = threading.Lock()
        self._seen: Any = None
        self._page = b""
        self._finished = False
        self.current()

    def current(self) -> tuple[bytes, bool]:
        """The page as HTML, and whether the study has come to its end.

        Raises:
            FileNotFoundError: there is no experiment of this package.
            IntegrityError: the journal contradicts what the study declared.
        """
        with self._lock:  # a browser asks twice at once; the page takes a second to make
            info = self._directory.fs.get_file_info(self._directory.join(JOURNAL))
            state = (info.size, info.mtime_ns)
            if not self._page or state != self._seen:
                record = StudyRecord(self._path)
                self._page = page(record).encode(errors="replace")
                self._finished = record.completeness.finished
                self._seen = state
            return self._page, self._finished


def server(path: str, port: int = 0, every_s: int = 10) -> ThreadingHTTPServer:
    """A server of the page, on the loopback address alone; call its ``serve_forever``.

    Args:
        path: the experiment's directory.
        port: 0 for one that is free.
        every_s: seconds after which a browser asks again, while the study is not finished.

    Raises:
        OSError: there is no such experiment, or the port is taken.
    """
    live = LivePage(path)

    class Handler(BaseHTTPRequestHandler):
        """Answers with the page and nothing else."""

        def do_GET(self) -> None:
            """One request."""
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            # A page of the web could give this address a name of its own, and read the study.
            if host not in (_LOOPBACK, "localhost"):
                self.send_error(403, "ask by 127.0.0.1 or localhost")
            elif self.path != "/":
                self.send_error(404)
            else:
                self._send_page()

        def _send_page(self) -> None:
            try:
                text, finished = live.current()
            except Exception as error:  # the study may be deleted, or half written, just now
                self.send_error(503, str(error).splitlines()[0])
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Cache-Control", "no-store")
            if not finished:
                # The page's own policy lets no script connect anywhere, this server included.
                self.send_header("Refresh", str(every_s))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing of requests."""

    return ThreadingHTTPServer((_LOOPBACK, port), Handler)
