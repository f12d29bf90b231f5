"""What a study says while it runs: a table that updates in place, or plain lines."""

from __future__ import annotations

import math
import time
from typing import Any

from ray.tune import Callback
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_seeds.analysis.cost import planned_epochs
from tune_seeds.analysis.estimates import Estimates
from tune_seeds.analysis.group_summary import Standing, State, fresh_standing, ranking
from tune_seeds.core.ledger import RunKey
from tune_seeds.core.rungs import TO_THE_END
from tune_seeds.race.kept_checkpoints import n_kept
from tune_seeds.race.race import Race
from tune_seeds.store.live_study import Study
from tune_seeds.views.labels import checkpoints_text, config_text, shortened

_REFRESH_S = 0.5
_MAX_ROWS = 20
_STYLES = {
    State.RUNNING: "cyan",
    State.QUEUED: "cyan",
    State.COMPLETE: "green",
    State.FAILED: "red",
}


class Progress(Callback):
    """Shows how the study goes; in a terminal as a table, elsewhere one line per scored group.

    Args:
        study: read only.
        n_configs: how many configs are to be tried.
        reduction_factor: η, for the estimate of what is left.
        n_finalists: likewise.
        n_confirm: runs on fresh seeds that are to follow; likewise.
        budget_s: seconds after which the study is ended, or None; likewise.
        console: where to show it; None for standard output.
        metric_range: of the metric, where the user declared it.
    """

    def __init__(
        self,
        study: Study,
        n_configs: int,
        *,
        reduction_factor: float = 4.0,
        n_finalists: int = 3,
        n_confirm: int = 0,
        budget_s: float | None = None,
        console: Console | None = None,
        metric_range: tuple[float, float] | None = None,
    ) -> None:
        self._race = study.race
        self._n_configs = n_configs
        self._plan = (reduction_factor, n_finalists, n_confirm)
        self._console = console or Console()
        if self._console.is_jupyter:
            # There rich makes HTML, each line an output of its own, and takes it for a terminal.
            self._console = Console(force_jupyter=False, force_terminal=False, no_color=True)
        self._budget_s = budget_s
        self._estimates = Estimates(study.race, metric_range)
        self._news = _News(study.race, self._estimates)
        self._start = time.monotonic()
        self._start_epochs = _epochs(study.race)
        self._pace: tuple[float, int] | None = None
        self._drawn = -math.inf
        self._happening = "starting"
        self._ended = False
        self._live: Live | None = None

    def setup(self, *args: Any, **info: Any) -> None:
        """Begin to show."""
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Show how it stands at the end, and give the terminal back; Ray calls it in any case."""
        self.on_step_end(0, [])
        n, size = n_kept(self._race)
        if self._live is None and size:
            self._print_line(checkpoints_text(n, size))
        if self._live is not None:
            self._live.update(self.render(), refresh=True)
            self._live.stop()
            self._live = None

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show what is new."""
        news = self._news.take()
        if news:
            self._happening = news[-1]
        if self._live is None:
            for text in news:
                self._print_line(text)
            return
        now = time.monotonic()
        if now - self._drawn >= _REFRESH_S:
            self._drawn = now
            self._live.update(self.render(), refresh=True)

    def render(self) -> RenderableType:
        """The table of the best groups, the bar and the news, as high as the terminal at most."""
        n_rows = max(1, min(_MAX_ROWS, self._console.height - 8))
        race = self._race
        shown = [
            self._estimates.standing(name, live=True, now=self._ended)
            for name in ranking(race, n_rows)
        ]
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
        score = f"{race.ledger.metric} ± std"
        for name in ("config", "rung", "seeds", score, "expected, 95%", "state", ""):
            ratio = 1 if not name else None
            table.add_column(Text(shortened(name, 32)), no_wrap=True, ratio=ratio)
        for item in shown:
            table.add_row(*_row(item))
        n_more = len(race.groups) - len(shown)
        rest = [Text(f"… and {n_more} more", style="dim")] if n_more > 0 else []
        happening = Text(self._happening, no_wrap=True, overflow="ellipsis", style="dim")
        n, size = n_kept(race)
        disk = [Text(checkpoints_text(n, size), style="dim", no_wrap=True)] if size else [Text()]
        return Group(table, *rest, *disk, self._bar(), happening)

    def _bar(self) -> RenderableType:
        race = self._race
        elapsed = time.monotonic() - self._start
        done = _epochs(race)
        n = f"{len(race.groups)}/{self._n_configs} configs"
        planned = planned_epochs(race, self._n_configs, *self._plan)
        grid = Table.grid(padding=(0, 1))
        budget = math.inf if self._budget_s is None else max(self._budget_s - elapsed, 0)
        if planned is None:
            ends = "" if math.isinf(budget) or race.done else f", {clock(budget)} of its time left"
            text = f"{clock(elapsed)} gone{ends}  {n}, {done} epochs, {len(race.busy)} runs"
            grid.add_row(Text(text, no_wrap=True))
            return grid
        left = "?" if math.isinf(budget) else clock(budget)
        if self._pace is None and done > self._start_epochs:
            self._pace = (time.monotonic(), done)  # before it, processes were started
        elif self._pace is not None and done > self._pace[1]:
            per_epoch = (time.monotonic() - self._pace[0]) / (done - self._pace[1])
            left = clock(min(per_epoch * max(planned - done, 0), budget))
        if race.done:
            planned, left = done, clock(0)
        bar = ProgressBar(
            total=max(planned, 1),
            completed=done,
            width=30,
            style="bright_black",  # by name: terminals with few colours turn rich's own into one
            complete_style="cyan",
            finished_style="green",
        )
        text = f"{done}/~{planned} epochs  {clock(elapsed)} gone, ~{left} left  {n}"
        grid.add_row(bar, Text(text, no_wrap=True))
        return grid

    def _print_line(self, text: str) -> None:
        n = f"{len(self._race.groups)}/{self._n_configs} configs"
        line = f"[{clock(time.monotonic() - self._start)}] {n} | {text}"
        # Neither wrapped nor coloured: it may end up in a file.
        self._console.out(line, highlight=False)


class _News:
    """What has happened since the last look, as text.

    Args:
        race: read only; what it holds now is not news.
        estimates: of the study's model.
    """

    def __init__(self, race: Race, estimates: Estimates) -> None:
        self._race = race
        self._estimates = estimates
        self._n_scored = len(race.scored)
        self._n_failed = len(race.failed)
        self._told: set[tuple[str, tuple[int, ...]]] = set()
        self._confirmed()

    def take(self) -> list[str]:
        """The news since the last call."""
        race, news = self._race, list[str]()
        for name, rung in race.scored[self._n_scored :]:
            score = race.ledger.metric.own(race.groups[name].scores[rung])
            config = shortened(config_text(race.ledger.configs[name], 24), 100)
            text = f"{name} scored {score:.6g} at {rung}"
            if rung == race.policy.rungs[-1]:
                item = self._estimates.standing(name)
                if item.is_modelled:
                    text += f", expected on a fresh seed {_expected(item)}"
            news.append(f"{text} | {config}")
        self._n_scored = len(race.scored)
        for name in race.failed[self._n_failed :]:
            failures = race.groups[name].failures
            why = "; ".join(f"seed {seed}: {error}" for seed, error in failures.items())
            news.append(f"{name} failed, {shortened(why, 200)}")
        self._n_failed = len(race.failed)
        news.extend(self._confirmed())
        return news

    def _confirmed(self) -> list[str]:
        news, ledger = list[str](), self._race.ledger
        if not ledger.fresh_seeds:
            return news
        for name in self._race.groups:
            seeds = tuple(s for s in ledger.fresh_seeds if RunKey(name, s) in ledger)
            if (name, seeds) in self._told or not seeds:
                continue
            found = fresh_standing(self._race, name, seeds)
            if found.values:
                self._told.add((name, seeds))
                news.append(f"{name} scored {found.score:.6g} on {len(seeds)} fresh seeds")
        return news


def _epochs(race: Race) -> int:
    return sum(run.last_epoch for run in race.ledger.values())


def _expected(item: Standing) -> str:
    """What a config should score on a fresh seed, by the model of all; it may have no interval."""
    low, high = item.interval
    return f"{item.estimate:.5g}" + ("" if math.isnan(low) else f" ({low:.4g} to {high:.4g})")


def _row(item: Standing) -> list[Text]:
    goal = "end" if item.goal.epochs == TO_THE_END else str(item.goal.epochs)
    score = "" if math.isnan(item.score) else f"{item.score:.5g}"
    if not math.isnan(item.std):
        score += f" ± {item.std:.2g}"
    config = config_text(item.config, 24)
    return [
        Text(item.group),
        Text(str(item.rung) if item.rung else f"to {goal}"),
        Text(f"{item.n_arrived}/{item.goal.n_seeds}"),
        Text(score),
        Text(_expected(item) if item.is_modelled else ""),
        Text(str(item.state), style=_STYLES.get(item.state, "dim")),
        Text(config, style="dim", overflow="ellipsis", no_wrap=True),
    ]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``, ``2:03``."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{whole % 60:02d}"
    return f"{minutes}:{whole % 60:02d}"


def restore_call(path: str, storage_filesystem: object = None) -> str:
    """The call that restores an experiment."""
    custom = "" if storage_filesystem is None else ", storage_filesystem=..."
    return f"SeedTuner.restore({path!r}, trainable{custom})"


def resume_advice(path: str, storage_filesystem: object = None) -> str:
    """What to do with a study that was left before its end."""
    return (
        "The study was left before its end; nothing that was reported is lost. Go on with\n"
        f"    {restore_call(path, storage_filesystem)}.fit()"
    )
