from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path

import pytest
from benchmarks.made_up import MadeUp, steps
from pictures import browser
from plotly.offline import get_plotlyjs

from tune_seeds import SeedResults
from tune_seeds.cli.main import main
from tune_seeds.views.report.page import page
from tune_seeds.views.report.serve import server

CONFIGS = [{"x": k} for k in range(3)]


@pytest.fixture
def study(tmp_path: Path) -> Iterator[tuple[Path, Iterator[object]]]:
    path = tmp_path / "live"
    under_way = steps(path, MadeUp(CONFIGS, seeds=(47, 881), max_t=3))
    next(under_way)
    yield path, under_way


def fetch(address: str, **headers: str) -> tuple[str, HTTPMessage]:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.read().decode(), answer.headers


@pytest.mark.slow
def test_it_follows_the_study_to_its_end(study):
    path, under_way = study
    served = server(str(path))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}/"
    try:
        text, headers = fetch(address)
        script = re.search(r'<script src="/(plotly-\w+\.js)">', text)
        assert script is not None and headers["Refresh"] == "10"
        assert text == page(SeedResults(str(path)), f"/{script[1]}") and len(text) < 300_000
        # Asked for once: the page is asked for again and again.
        library, headers = fetch(f"{address}{script[1]}")
        assert library == get_plotlyjs() and "immutable" in headers["Cache-Control"]
        for _ in under_way:
            pass
        after, headers = fetch(address)
        assert after != text and after == page(SeedResults(str(path)), f"/{script[1]}")
        assert headers["Refresh"] is None
        for wrong, status in (({"Host": "evil.example"}, 403), ({"Host": "evil.example:80"}, 403)):
            with pytest.raises(urllib.error.HTTPError) as error:
                fetch(address, **wrong)
            assert error.value.code == status
        with pytest.raises(urllib.error.HTTPError) as error:
            fetch(f"{address}ledger.jsonl")
        assert error.value.code == 404
        assert served.server_address[0] == "127.0.0.1"
    finally:
        served.shutdown()
        served.server_close()


@pytest.mark.slow
@pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
def test_a_browser_draws_the_live_page_and_asks_for_its_script_once(study):
    path, under_way = study
    for _ in range(6):
        next(under_way)
    served = server(str(path), every_s=1)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}/"
    try:
        with browser.browser(1200, 900) as window:
            window.open(address)
            drawn = "document.querySelectorAll('figure .main-svg').length >= 3"
            window.wait_for(drawn)
            for _ in under_way:
                pass
            window.wait_for("document.querySelector('h1').innerText.includes('is best')")
            window.wait_for(drawn)
            assert window.console == []
            assert window.requests.count(address) >= 2
            sent = "performance.getEntriesByName(document.scripts[0].src)[0].transferSize"
            assert window.evaluate(sent) == 0  # it came from the browser's memory
    finally:
        served.shutdown()
        served.server_close()


def test_a_dashboard_of_nothing_is_one_line(tmp_path, capsys):
    assert main(["dashboard", str(tmp_path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "holds no study.json" in error
