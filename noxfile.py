"""The project's chores: ``nox -l`` lists them, ``nox -s quick`` runs one.

They run in the environment that is active, which ``nox -s setup`` fills; only what tries another
set of packages makes an environment of its own.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["quick"]
nox.options.default_venv_backend = "venv"

CONSTRAINTS = Path("docker/constraints.txt")

# Which Python each row is tried on, and what it has instead of what the constraints pin; the newest
# row is the constraints themselves, on which CI runs every test. torch stays pinned: of another
# version pip would bring gigabytes of CUDA.
VERSIONS = {
    "oldest": (
        "3.11",
        {
            "ray": "2.49.2",
            "lightning": "2.5.0",
            "pytorch-lightning": "2.5.0",
            # Lightning 2.5.0 takes no newer ones.
            "fsspec": "2025.12.0",
            "packaging": "24.2",
        },
    ),
    "middle": (
        "3.12",
        {"ray": "2.53.0", "lightning": "2.5.6", "pytorch-lightning": "2.5.6"},
    ),
    "python313": ("3.13", {}),
}


@nox.session(python=False)
def setup(session: nox.Session) -> None:
    """Install everything that development needs into the environment that is active."""
    session.run("pip", "install", "-c", str(CONSTRAINTS), "-e", ".[test,docs]")


@nox.session(python=False)
def quick(session: nox.Session) -> None:
    """Run the tests of the pure core, without Ray: about three minutes."""
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session(python=False)
def full(session: nox.Session) -> None:
    """Run every test: about 40 minutes on two cores."""
    session.run("pytest", *session.posargs)


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Check style, imports and types."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("basedpyright")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.run("basedpyright")


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Write a page of HTML for each public module, from its docstrings, into build/docs."""
    session.run("pdoc", "-d", "google", "-o", "build/docs", "tune_seeds", "tune_seeds.testing")


@nox.session(python=False)
def benchmarks(session: nox.Session) -> None:
    """Replay search policies on curves that are recorded here: a few minutes."""
    session.run("python", "experiments/benchmarks/replay.py", *session.posargs)


@nox.session(python=False)
def site(session: nox.Session) -> None:
    """Build the documentation site into ``site/``; a dead link or a missing name ends it."""
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
@nox.parametrize("row", list(VERSIONS))
def versions(session: nox.Session, row: str) -> None:
    """Run whole studies, with pauses, a restore and HPARAMS, on other versions.

    ``nox -s 'versions(row="oldest")'``; the whole suite with ``-- tests`` behind it.
    """
    python, others = VERSIONS[row]
    with tempfile.TemporaryDirectory() as directory:
        # A venv of its own: the row says which Python, and parametrized sessions share one.
        venv = Path(directory, "venv")
        session.run(f"python{python}", "-m", "venv", str(venv), external=True)
        constraints = Path(directory, "constraints.txt")
        constraints.write_text(_constraints(others))
        pip = (str(venv / "bin" / "pip"), "install", "-q", "--no-compile", "-c", str(constraints))
        # Without nox, whose newer packages the oldest Lightning does not take.
        extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]
        needed = [name for name in extras["optional-dependencies"]["test"] if "nox" not in name]
        own = [name for name in needed if name.startswith("tune-seeds[")]
        others = [name for name in needed if name not in own]
        session.run(*pip, "-e", own[0].replace("tune-seeds", "."), *others, external=True)
        chosen = session.posargs or ["-m", "versions"]
        session.run(str(venv / "bin" / "python"), "-m", "pytest", *chosen, external=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build wheel and sdist, install each into a clean environment, and use what it contains."""
    session.install("build")
    test = str(Path("tests/wheel_contents.py").resolve())
    with tempfile.TemporaryDirectory() as directory:
        session.run("python", "-m", "build", "--outdir", directory)
        (built,) = map(str, Path(directory).glob("*.whl"))
        (source,) = map(str, Path(directory).glob("*.tar.gz"))
        # What is imported is compiled then; the rest of these packages takes a minute.
        pip = ("--no-compile", "-c", str(CONSTRAINTS.resolve()))
        session.install(*pip, built, "pytest", "jsonschema")
        # From another directory, so that the checkout is not what is imported.
        session.chdir(directory)
        pytest = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, test)
        session.run(*pytest)
        session.install(*pip, "--no-deps", "--force-reinstall", source)
        session.run(*pytest)


def _constraints(others: dict[str, str]) -> str:
    """The tested set with other versions of some packages."""
    lines = [
        line
        for line in CONSTRAINTS.read_text().splitlines()
        if line.partition("==")[0] not in others
    ]
    return "\n".join([*lines, *(f"{name}=={version}" for name, version in others.items()), ""])
