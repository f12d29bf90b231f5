"""Kill a real study in every way, let it go on, and count what was lost.

python experiments/benchmarks/faults.py --rounds 50 --seed 0 --out faults.jsonl

A round runs one study on a local Ray of its own, injects one fault at a drawn moment (while it
starts, searches or confirms), restores until the study is done, and compares it with what the same
runs report without any fault. Printed per fault: rounds, studies that survived without a restore,
reports lost, groups with a wrong score, and epochs that were trained again though a checkpoint had
them. The disk that is full is a small tmpfs where one can be mounted, else left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SEEDS, FRESH, STEPS, N_CONFIGS = [47, 881, 12], [900, 901], 4, 4
FAULTS = ("driver", "worker", "raylet", "gcs", "disk", "storage")
PHASES = ("start", "search", "confirm")
KINDS = ("function", "lightning")


def walk(config: dict[str, Any]) -> None:
    """A resumable random walk whose numbers depend on config and seed alone."""
    from ray import tune

    from tune_seeds import load_rng_state, save_rng_state, should_checkpoint

    position, start = 0.0, 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            state = json.loads((Path(directory) / "state.json").read_text())
            position, start = state["position"], state["t"] + 1
            load_rng_state(directory)
    for t in range(start, STEPS + 1):
        time.sleep(0.2)
        position += config["x"] + random.random() / 10
        if not should_checkpoint(t):
            tune.report({"epoch": t, "score": position})
            continue
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "state.json").write_text(json.dumps({"position": position, "t": t}))
            save_rng_state(directory)
            tune.report(
                {"epoch": t, "score": position},
                checkpoint=tune.Checkpoint.from_directory(directory),
            )


def trainable(kind: str) -> Any:
    """What a study trains."""
    if kind == "function":
        return walk
    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from tune_seeds import LightningTrainer

    class Line(lightning.LightningModule):
        def __init__(self, x: float) -> None:
            super().__init__()
            self.layer, self.x = torch.nn.Linear(2, 1), x

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return self.layer(batch[0]).square().mean()

        def on_train_epoch_end(self) -> None:
            time.sleep(0.2)
            self.log("score", self.layer.weight.sum() * self.x + torch.rand(()))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def loader() -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=4, shuffle=True)

    return LightningTrainer(Line, train_dataloaders=loader, trainer_kwargs={"max_epochs": STEPS})


def drive(path: Path, kind: str) -> None:
    """Begin the study of a folder, or go on with it; what a child process does."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from tune_seeds import SeedTuner

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    if (path / "study" / "study.json").exists():
        tuner = SeedTuner.restore(str(path / "study"), trainable(kind), resume_errored=True)
    else:
        tuner = SeedTuner(
            trainable(kind),
            seeds=SEEDS,
            param_space={"x": tune.grid_search([0.1 * (k + 1) for k in range(N_CONFIGS)])},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                scheduler=ASHAScheduler(time_attr="epoch", max_t=STEPS, reduction_factor=2),
            ),
            run_config=tune.RunConfig(name="study", storage_path=str(path)),
            seeds_per_rung="all",
            n_finalists=2,
            confirm_seeds=FRESH,
            confirm_top=1,
        )
    tuner.fit()


@dataclass
class Round:
    """What one round came to; see the module."""

    number: int
    fault: str
    phase: str
    kind: str
    survived: bool = False
    n_restores: int = 0
    done: bool = False
    n_lost: int = 0
    n_wrong: int = 0
    n_repeated: int = 0
    seconds: float = 0.0
    note: str = ""


def events(path: Path) -> list[dict[str, Any]]:
    """The events of a journal, the last line left out where it was cut."""
    journal = path / "study" / "ledger.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [json.loads(line) for line in lines]


def start_child(path: Path, kind: str) -> subprocess.Popen[bytes]:
    """A driver in a process group of its own."""
    script = [sys.executable, __file__, "--drive", str(path), "--kind", kind]
    environment = {**os.environ, "RAY_worker_niceness": "0"}
    with open(path / "log.txt", "ab") as log:
        return subprocess.Popen(
            script, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def descendants(pid: int) -> list[tuple[int, str]]:
    """Every process below one, with its command line."""
    children: dict[int, list[int]] = defaultdict(list)
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        children[int(stat.rpartition(")")[2].split()[1])].append(int(entry.name))
        commands[int(entry.name)] = command
    found, queue = list[tuple[int, str]](), [pid]
    while queue:
        for child in children[queue.pop()]:
            found.append((child, commands[child]))
            queue.append(child)
    return found


def kill(pid: int, marks: tuple[str, ...], rng: random.Random) -> bool:
    """Kill one process below a driver whose command line has a mark."""
    found = [p for p, command in descendants(pid) if any(mark in command for mark in marks)]
    if not found:
        return False
    os.kill(rng.choice(found), signal.SIGKILL)
    return True


def wait_for(path: Path, child: subprocess.Popen[bytes], reached: Callable[[list], bool]) -> bool:
    """Whether a study comes to a moment before its driver ends."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        if reached(events(path)):
            return True
        if child.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def moment(phase: str, rng: random.Random) -> Callable[[list], bool]:
    """When to inject: a predicate of the events so far."""
    if phase == "confirm":
        n = rng.randint(0, 6)

        def in_confirmation(found: list[dict[str, Any]]) -> bool:
            begun = [k for k, e in enumerate(found) if e["event"] == "ConfirmationAdded"]
            return bool(begun) and len(found) - begun[0] > n

        return in_confirmation
    n = rng.randint(0, 4) if phase == "start" else rng.randint(20, 70)
    return lambda found: len(found) >= n


def inject(fault: str, child: subprocess.Popen[bytes], path: Path, rng: random.Random) -> str:
    """Do the damage; a note says where it could not be done as named."""
    if fault == "driver":
        os.kill(child.pid, signal.SIGKILL)
    elif fault == "worker":
        if not kill(child.pid, ("ray::ImplicitFunc", "ray::walk", "ray::Line"), rng):
            return "no worker was there yet"
    elif fault in ("raylet", "gcs"):
        mark = "raylet/raylet" if fault == "raylet" else "gcs_server"
        if not kill(child.pid, (mark,), rng):
            return f"no {fault} was there yet"
    elif fault == "disk":
        ballast = path / "ballast"
        try:
            with open(ballast, "wb", buffering=0) as stream:
                while True:
                    stream.write(b"\0" * 65536)
        except OSError:
            pass
        time.sleep(8)
        ballast.unlink()
    else:  # the storage is away for a while, and comes back
        away = path.with_name(path.name + "-away")
        os.rename(path, away)
        time.sleep(3)
        if path.exists():  # the study made files where its folder was; what was there wins
            os.rename(path, path.with_name(path.name + "-stray"))
        os.rename(away, path)
    return ""


def end_child(child: subprocess.Popen[bytes]) -> None:
    """End a driver and what is left of its Ray."""
    below = descendants(child.pid)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    for pid, _ in below:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def play(number: int, fault: str, phase: str, kind: str, seed: int, base: Path) -> Round:
    """One round."""
    rng, begun = random.Random(f"{seed}/{number}"), time.monotonic()
    found = Round(number, fault, phase, kind)
    path = base / f"r{number}"
    path.mkdir(parents=True)
    mounted = fault == "disk" and mount(path)
    if fault == "disk" and not mounted:
        found.note = "no tmpfs can be mounted here; left out"
        return found
    child = start_child(path, kind)
    before: list[dict[str, Any]] = []
    if wait_for(path, child, moment(phase, rng)):
        found.note = inject(fault, child, path, rng)
        if fault != "driver":
            time.sleep(1)
        before = events(path)
    else:
        found.note = "the study ended before the moment came"
    ended = wait_to_end(child, 300)
    found.survived = ended == 0
    end_child(child)
    while found.n_restores < 4 and not is_done(events(path)):
        found.n_restores += 1
        child = start_child(path, kind)
        wait_to_end(child, 300)
        end_child(child)
    check(found, before, events(path))
    if mounted:
        subprocess.run(["umount", "-l", str(path)], check=False)
    found.seconds = round(time.monotonic() - begun, 1)
    return found


def wait_to_end(child: subprocess.Popen[bytes], patience_s: float) -> int | None:
    """The exit code; None where a driver hangs."""
    try:
        return child.wait(patience_s)
    except subprocess.TimeoutExpired:
        return None


def is_done(found: list[dict[str, Any]]) -> bool:
    """Whether every config is there, and the confirmation has ended."""
    fresh = [e for e in found if e["event"] == "RunCompleted" and e["seed"] in FRESH]
    return len({(e["group"], e["seed"]) for e in fresh}) >= len(FRESH)


def check(found: Round, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Compare a study with what its runs report without a fault."""
    found.done = is_done(after)
    found.n_lost = sum(e["event"] == "Reported" and e not in after for e in before)
    configs = {e["group"]: e["config"] for e in after if e["event"] == "GroupAdded"}
    first: dict[tuple[str, int, int], float] = {}
    checkpoints: dict[tuple[str, int], int] = Counter()
    for e in after:
        if e["event"] != "Reported":
            continue
        run, key = (e["group"], e["seed"]), (e["group"], e["seed"], e["epoch"])
        if key in first:
            found.n_repeated += e["epoch"] <= checkpoints[run]
            found.n_wrong += e["metrics"]["score"] != first[key]
            continue
        first[key] = e["metrics"]["score"]
        if e["checkpoint"] is not None:
            checkpoints[run] = max(checkpoints[run], e["epoch"])
    for e in after:
        if e["event"] != "Scored":
            continue
        for name, value in e["scores"].items():
            expected = first.get((e["group"], int(name), e["rung"][0]))
            if found.kind == "function":
                expected = walked(configs[e["group"]]["x"], int(name), e["rung"][0])
            found.n_wrong += value != expected


def walked(x: float, seed: int, steps: int) -> float:
    """What ``walk`` reports without Ray."""
    generator, position = random.Random(seed), 0.0
    for _ in range(steps):
        position += x + generator.random() / 10
    return position


def mount(path: Path) -> bool:
    """Whether a tmpfs of a few MB could be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def table(rounds: list[Round]) -> str:
    """A Markdown table, a line for each fault."""
    head = "| fault | rounds | survived | restored | not done | reports lost | groups wrong | "
    lines = [head + "epochs repeated |", "|---|---|---|---|---|---|---|---|"]
    for fault in FAULTS:
        own = [r for r in rounds if r.fault == fault and not r.note.endswith("left out")]
        if not own:
            continue
        lines.append(
            f"| {fault} | {len(own)} | {sum(r.survived for r in own)} | "
            f"{sum(r.done and not r.survived for r in own)} | {sum(not r.done for r in own)} | "
            f"{sum(r.n_lost for r in own)} | {sum(r.n_wrong for r in own)} | "
            f"{sum(r.n_repeated for r in own)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Play rounds, fault by fault, and print the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a line of JSON for each round")
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="function", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive is not None:
        drive(options.drive, options.kind)
        return
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as base:
        for number in range(options.rounds):
            fault = options.faults[number % len(options.faults)]
            cycle = number // len(options.faults)
            phase = PHASES[(number + cycle) % len(PHASES)]
            kind = options.kinds[cycle % len(options.kinds)]
            rounds.append(play(number, fault, phase, kind, options.seed, Path(base)))
            print(rounds[-1], flush=True)
            if options.out is not None:
                with open(options.out, "a") as stream:
                    stream.write(json.dumps(asdict(rounds[-1])) + "\n")
    print(table(rounds))


if __name__ == "__main__":
    main()
