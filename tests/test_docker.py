"""The files for clusters: valid, and the same process variables on every node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tune_seeds.core.process_variables import PROCESS_VARIABLES

DOCKER = Path(__file__).parents[1] / "docker"


def read(name: str) -> Any:
    return yaml.safe_load((DOCKER / name).read_text())


def test_ray_takes_the_cluster_file():
    validate_config(prepare_config(read("ray-cluster.yaml")))


def variables(name: str) -> list[dict[str, str]]:
    """The environment of each kind of node that a file starts."""
    match name:
        case "Dockerfile":
            (line,) = re.findall(r"^ENV (.+)$", (DOCKER / name).read_text(), flags=re.MULTILINE)
            return [dict(item.split("=", 1) for item in line.split())]
        case "compose.yaml":
            return [service["environment"] for service in read(name)["services"].values()]
        case "ray-cluster.yaml":
            options = read(name)["docker"]["run_options"]
            told = [option.removeprefix("--env=") for option in options if "--env=" in option]
            return [dict(item.split("=", 1) for item in told)]
        case _:
            cluster = read(name)["spec"]["rayClusterSpec"]
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            pods = [group["template"]["spec"]["containers"][0] for group in groups]
            return [{item["name"]: item["value"] for item in pod["env"]} for pod in pods]


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "ray-cluster.yaml", "kuberay.yaml"])
def test_every_node_starts_with_the_variables_that_bits_depend_on(name: str):
    found = variables(name)
    assert found
    for environment in found:
        assert PROCESS_VARIABLES.items() <= environment.items()


def test_nothing_is_published_beyond_this_machine():
    ports = [p for s in read("compose.yaml")["services"].values() for p in s.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_is_no_root_and_pins_the_tested_ray():
    text = (DOCKER / "Dockerfile").read_text()
    assert re.search(r"^USER (?!0|root)\S+$", text, flags=re.MULTILINE)
    pinned = re.search(r"^ray==(.+)$", (DOCKER / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned and read("kuberay.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


def test_commands_name_arguments_that_the_script_has():
    import tune_cifar

    known = {f"--{name.replace('_', '-')}" for name in tune_cifar.Arguments.__dataclass_fields__}
    for file in DOCKER.iterdir():
        for command in re.findall(r"tune_cifar\.py((?:[^'\"\n]|\\\n)*)", file.read_text()):
            for option in re.findall(r"--[a-z][a-z-]+", command):
                assert option in known, f"{file.name}: {option}"
