from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path

import pytest
from benchmarks.made_up import MadeUp, steps

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


def test_it_follows_the_study_to_its_end(study):
    path, under_way = study
    served = server(str(path))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}/"
    try:
        text, headers = fetch(address)
        assert text == page(SeedResults(str(path))) and headers["Refresh"] == "10"
        for _ in under_way:
            pass
        after, headers = fetch(address)
        assert after != text and after == page(SeedResults(str(path)))
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


def test_a_dashboard_of_nothing_is_one_line(tmp_path, capsys):
    assert main(["dashboard", str(tmp_path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "holds no study.json" in error
