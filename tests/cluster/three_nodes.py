"""A study on a cluster whose nodes share nothing but an object store, against one machine's.

Needs Linux, root, iproute2, and ``pip install 'moto[server]'`` beside what the experiments need:

    python tests/cluster/three_nodes.py

It builds the wheel and starts a head without CPUs and two workers, each in a network namespace of
its own, with a working directory and a /tmp-like folder that the others do not see. The driver runs
``experiments/tune_cifar.py`` on digits on the head; the workers have the wheel and none of the
script's modules. In mid-run one worker is killed, all processes at once, and another one joins.
Every epoch of every run has to equal that of the same study on this machine alone, bit for bit, and
all three workers have to have trained.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NETWORK = "10.213.77"
BRIDGE = "tuneseeds0"
NODES = ("head", "one", "two", "three")
STORE = f"{NETWORK}.1:5055"
STUDY = [
    *("--dataset", "digits", "--searcher", "grid", "--num-configs", "4", "--finalists", "4"),
    *("--epochs", "9", "--grace-period", "3", "--seeds-per-rung", "all", "--name", "study"),
    *("--seeds", "47", "881"),
]
URI = f"s3://studies/results?endpoint_override={STORE}&scheme=http&allow_bucket_creation=true"


def call(*command: str, **kwargs: Any) -> None:
    """Run a command that has to succeed."""
    subprocess.run(command, check=True, **kwargs)


def environment(site: Path, node: Path) -> dict[str, str]:
    """What a process of a node sees: the wheel, and a temporary folder of its own."""
    secrets = {"AWS_ACCESS_KEY_ID": "study", "AWS_SECRET_ACCESS_KEY": "study"}
    fixed = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_NUM_THREADS": "1"}
    temporary = node / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    own = {"PYTHONPATH": str(site), "TMPDIR": str(temporary), "RAY_AUTH_MODE": "disabled"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON"))}
    return {**kept, **secrets, **fixed, **own, "AWS_DEFAULT_REGION": "us-east-1"}


class Cluster:
    """Nodes in network namespaces on one bridge.

    Args:
        base: the folders of all nodes; a node sees its own only.
        site: where the wheel is installed.
    """

    def __init__(self, base: Path, site: Path) -> None:
        self.base, self.site = base, site
        self.ray = base / "ray"
        self.ray.mkdir()

    @contextmanager
    def network(self) -> Iterator[None]:
        """The bridge and a namespace for each node, taken away at the end."""
        call("ip", "link", "add", "name", BRIDGE, "type", "bridge")
        try:
            call("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
            call("ip", "link", "set", BRIDGE, "up")
            for node in NODES:
                self._connect(node)
            yield
        finally:
            for node in NODES:
                self.kill(node)
                subprocess.run(["ip", "netns", "del", name(node)], check=False)
            subprocess.run(["ip", "link", "del", BRIDGE], check=False)

    def _connect(self, node: str) -> None:
        own = name(node)
        call("ip", "netns", "add", own)
        # The name of an interface has 15 characters at most.
        call(
            *("ip", "link", "add", f"ts{node}", "type", "veth"),
            *("peer", "name", "eth0", "netns", own),
        )
        call("ip", "link", "set", f"ts{node}", "master", BRIDGE, "up")
        for command in (
            ("addr", "add", f"{address(node)}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            call("ip", "-n", own, *command)

    def popen(self, node: str, *command: str, **kwargs: Any) -> subprocess.Popen[str]:
        """Start a command on a node."""
        folder = self.base / node
        folder.mkdir(exist_ok=True)
        # The folders of the other nodes, and Ray's of theirs, are hidden by empty ones.
        hidden = [self.ray, *(self.base / other for other in NODES if other != node)]
        mounts = ""
        if node != "head":
            mounts = "".join(f"mkdir -p {p}; mount -t tmpfs none {p}; " for p in hidden)
        script = f'{mounts}cd {folder}; exec "$@"'
        # Ray needs /dev/shm, which "ip netns exec" leaves as it is.
        start = ["ip", "netns", "exec", name(node), "sh", "-c", script, "sh", *command]
        return subprocess.Popen(start, env=environment(self.site, folder), text=True, **kwargs)

    def start(self, node: str) -> None:
        """Start Ray on a node; a worker has one CPU."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start"]
        own = ["--node-ip-address", address(node), "--disable-usage-stats", "--block"]
        if node == "head":
            own += ["--head", "--port", "6379", "--num-cpus", "0", "--temp-dir", str(self.ray)]
            own += ["--include-dashboard", "false"]
        else:
            own += ["--address", f"{address('head')}:6379", "--num-cpus", "1"]
        log = open(self.base / f"{node}.log", "w")  # noqa: SIM115 - as long as the node
        self.popen(node, *ray, *own, stdout=log, stderr=log)

    def kill(self, node: str) -> None:
        """Kill every process of a node at once, as a machine that loses its power."""
        found = subprocess.run(
            ["ip", "netns", "pids", name(node)], check=False, capture_output=True, text=True
        )
        for pid in found.stdout.split():
            subprocess.run(["kill", "-9", pid], check=False, stderr=subprocess.DEVNULL)


def name(node: str) -> str:
    """Of a node's network namespace."""
    return f"tune_seeds_{node}"


def address(node: str) -> str:
    """Of a node in the network of the cluster."""
    return f"{NETWORK}.{10 + NODES.index(node)}"


@contextmanager
def object_store(base: Path) -> Iterator[None]:
    """moto's S3 server on the bridge, with the bucket of the study."""
    host, port = STORE.split(":")
    with open(base / "store.log", "w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", host, "-p", port]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: bucket_is_made(), "the object store", 120)
            yield
        finally:
            server.kill()


def bucket_is_made() -> bool:
    """Make the bucket; False where the store does not answer yet."""
    import pyarrow.fs

    try:
        fs, path = pyarrow.fs.FileSystem.from_uri(URI)
        fs.create_dir(path)
    except OSError:
        return False
    return True


def until(is_true: Callable[[], bool], what: str, limit_s: float) -> None:
    """Wait for something.

    Raises:
        TimeoutError: it does not come.
    """
    end = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() >= end:
            raise TimeoutError(f"{what} did not come within {limit_s:.0f} s")
        time.sleep(0.5)


def records(location: str) -> list[Mapping[str, Any]]:
    """The events of a study, as far as its storage has them."""
    from tune_seeds.store.directory import ExperimentDir, joined

    directory = ExperimentDir.at(joined(location, "study"))
    if not directory.exists("ledger.jsonl"):
        return []
    lines = directory.read("ledger.jsonl").split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def curves(location: str) -> dict[tuple[str, int, int], dict[str, float]]:
    """(config, seed, epoch) → what the run reported there, without times."""
    configs: dict[str, str] = {}
    found: dict[tuple[str, int, int], dict[str, float]] = {}
    for record in records(location):
        if record["event"] == "GroupAdded":
            configs[record["group"]] = json.dumps(record["config"], sort_keys=True)
        if record["event"] == "Reported":
            key = (configs[record["group"]], record["seed"], record["epoch"])
            metrics = {k: v for k, v in record["metrics"].items() if k != "time_total_s"}
            found.setdefault(key, metrics)
    return found


def epochs_by_node() -> Counter[str]:
    """The address of each node → the epochs that it trained, as Ray's own records say."""
    from tune_seeds.store.directory import ExperimentDir, joined

    count: Counter[str] = Counter()
    for trial in ExperimentDir.at(joined(URI, "study")).subdirectories():
        if trial.exists("result.json"):
            lines = trial.read("result.json").decode().splitlines()
            count.update(json.loads(line)["node_ip"] for line in lines)
    return count


def n_reports() -> int:
    """The epochs that the study on the cluster has recorded."""
    return sum(record["event"] == "Reported" for record in records(URI))


def main() -> None:
    """Run both studies and compare them.

    Raises:
        SystemExit: they differ, or a node trained nothing.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=1800, help="seconds for each study")
    limit = parser.parse_args().limit
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    with ExitStack() as stack:
        # Sockets have short paths at most.
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ts-", dir="/tmp")))
        site = base / "site"
        wheel = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        call(*wheel, str(site), str(ROOT))
        sys.path.insert(0, str(site))
        cluster = Cluster(base, site)
        for node in ("head", "alone"):
            shutil.copytree(ROOT / "experiments", base / node / "experiments")
        os.environ.update(environment(site, base / "alone"))
        os.environ["RAY_TMPDIR"] = str(base / "r")  # another Ray of this machine is none of ours

        print("the study on this machine alone", flush=True)
        script = [sys.executable, "experiments/tune_cifar.py", *STUDY]
        alone = base / "alone" / "results"
        call(*script, "--storage-path", str(alone), cwd=base / "alone", timeout=limit)

        stack.enter_context(cluster.network())
        stack.enter_context(object_store(base))
        for node in ("head", "one", "two"):
            cluster.start(node)
            time.sleep(5)
        print("the study on three nodes", flush=True)
        there = ["--ray-address", f"{address('head')}:6379", "--storage-path", URI]
        driver = cluster.popen("head", *script, *there)
        until(lambda: n_reports() >= 6 or driver.poll() is not None, "the sixth epoch", limit)
        print(f"after {n_reports()} epochs node one is killed, and node three joins", flush=True)
        cluster.kill("one")
        cluster.start("three")
        if driver.wait(timeout=limit) != 0:
            raise SystemExit(f"the study on the cluster failed ({driver.returncode}); see {base}")

        expected, found, by_node = curves(str(alone)), curves(URI), epochs_by_node()
        failed = [r for r in records(URI) if r["event"] == "RunFailed"]
        different = [key for key in expected if found.get(key) != expected[key]]
        print(f"epochs alone {len(expected)}, on the cluster {len(found)}, different: {different}")
        print(f"epochs trained by each node: {dict(by_node)}; runs that failed: {failed}")
        idle = [node for node in ("one", "two", "three") if not by_node[address(node)]]
        if different or len(found) != len(expected) or failed or idle:
            raise SystemExit(f"not as on one machine; idle nodes: {idle}")
        print("equal, bit for bit")


if __name__ == "__main__":
    main()
