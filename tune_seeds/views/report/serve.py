"""The report as a live page of this machine: it follows the study while it runs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

from tune_seeds.analysis.study_record import StudyRecord
from tune_seeds.store.directory import ExperimentDir
from tune_seeds.store.journal import JOURNAL
from tune_seeds.views.report.page import page, plotly_js

_LOOPBACK = "127.0.0.1"
_NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


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
        #: Plotly's JavaScript, and the path that names this very text, so that a browser, which
        #: asks for the page again and again, asks for this once.
        self.plotly = plotly_js()
        self.plotly_path = f"/plotly-{hashlib.sha256(self.plotly).hexdigest()[:12]}.js"
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
                self._page = page(record, self.plotly_path).encode(errors="replace")
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
        """Answers with the page and the script that it asks for, and nothing else."""

        def do_GET(self) -> None:
            """One request."""
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            # A page of the web could give this address a name of its own, and read the study.
            if host not in (_LOOPBACK, "localhost"):
                self.send_error(403, "ask by 127.0.0.1 or localhost")
            elif self.path == live.plotly_path:
                self._send(live.plotly, "text/javascript", "max-age=31536000, immutable")
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
            # The page's own policy lets no script connect anywhere, this server included.
            refresh = {} if finished else {"Refresh": str(every_s)}
            self._send(text, "text/html", "no-store", refresh)

        def _send(
            self,
            content: bytes,
            kind: str,
            cache: str,
            more: Mapping[str, str] = MappingProxyType({}),
        ) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", cache)
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing of requests."""

    return ThreadingHTTPServer((_LOOPBACK, port), Handler)
