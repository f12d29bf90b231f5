"""A headless Chromium, driven over its DevTools protocol with nothing but aiohttp (Ray has it)."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


def executable() -> str | None:
    """Chromium on this machine, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


class Page:
    """One open page; ``console`` collects what it logs and throws."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, loop: asyncio.AbstractEventLoop):
        self._socket = socket
        self._loop = loop
        self._n_sent = 0
        self.console: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call one method of the protocol and wait for its answer."""
        return self._loop.run_until_complete(self._call(method, params))

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._n_sent += 1
        number = self._n_sent
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=120)
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(params["exceptionDetails"])[:500])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.console.append(json.dumps(params["args"])[:500])
            case "Page.javascriptDialogOpening":
                self.console.append(f"dialog: {params['message']}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, which may be a promise."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 60) -> Any:
        """Evaluate again and again until the value is true."""
        end = time.monotonic() + timeout_s
        while True:
            value = self.evaluate(expression)
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"not true within {timeout_s} s: {expression}")
            time.sleep(0.2)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Set the size of the window in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def prefer(self, scheme: str) -> None:
        """Ask for ``"light"`` or ``"dark"``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Save a PNG of the window, or of the whole page."""
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(result["data"]))

    def pdf(self, file: Path) -> None:
        """Save what would be printed."""
        result = self.call("Page.printToPDF", printBackground=False)
        file.write_bytes(base64.b64decode(result["data"]))


@contextmanager
def browser(width: int = 1280, height: int = 900) -> Iterator[Page]:
    """A new Chromium with an empty profile, and its first page."""
    program = executable()
    if program is None:
        raise FileNotFoundError("chromium is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        loop = asyncio.new_event_loop()
        session = None
        try:
            port = _port(Path(profile) / "DevToolsActivePort")
            session, socket = loop.run_until_complete(_connect(port))
            page = Page(socket, loop)
            page.resize(width, height)
            yield page
        finally:
            if session is not None:
                loop.run_until_complete(session.close())
            loop.close()
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _port(file: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if file.exists() and "\n" in (text := file.read_text()):
            return int(text.split("\n")[0])
        time.sleep(0.1)
    raise TimeoutError("chromium did not start within 60 s")


async def _connect(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
        targets = await response.json()
    target = next(target for target in targets if target["type"] == "page")
    socket = await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
    return session, socket
