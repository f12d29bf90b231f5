"""A TensorBoard server on a directory, and its HPARAMS rows over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


class Board:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """A JSON answer."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as response:
            return json.load(response)

    def hparams(self, path: str, **body: Any) -> dict[str, Any]:
        """An answer of the HPARAMS plugin."""
        request = urllib.request.Request(
            f"{self.url}data/plugin/hparams/{path}",
            data=json.dumps({"experimentName": "", **body}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def rows(self, **kwargs: Any) -> list[dict[str, Any]]:
        """The rows of the HPARAMS table: name, cells by column, the runs they open to."""
        experiment = self.hparams("experiment")
        columns = [{"hparam": info["name"]} for info in experiment.get("hparamInfos", [])]
        columns += [{"metric": info["name"]} for info in experiment.get("metricInfos", [])]
        titles = {
            info["name"]["tag"]: info["displayName"] or info["name"]["tag"]
            for info in experiment.get("metricInfos", [])
        }
        body = {"allowedStatuses": _STATUSES, "colParams": columns, "sliceSize": 10_000, **kwargs}
        answer = self.hparams("session_groups", startIndex=0, **body)
        return [
            {
                "name": group["name"],
                "hparams": group["hparams"],
                "metrics": {titles[m["name"]["tag"]]: m["value"] for m in group["metricValues"]},
                "sessions": {s["name"]: s["status"] for s in group["sessions"]},
            }
            for group in answer.get("sessionGroups", [])
        ]

    def wait_for_rows(self, n: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """The rows, once there are n whose every session has come in."""
        end = time.monotonic() + timeout_s
        while True:
            rows = self.rows()
            if len(rows) >= n or time.monotonic() > end:
                return rows
            time.sleep(0.5)


@contextmanager
def board(logdir: str, *options: str) -> Iterator[Board]:
    """Serve a directory on a free port, on this machine only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    server = Board(f"http://127.0.0.1:{port}/")
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(server: Board, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while True:
        try:
            server.get("data/environment")
            return
        except OSError:
            if time.monotonic() > end or process.poll() is not None:
                raise TimeoutError("TensorBoard did not start") from None
            time.sleep(0.2)
