"""The root of a failure, found in what Python and Ray write of it."""

from __future__ import annotations

import functools
import pickle
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tune_seeds.core.root_cause import RootCause, root_cause

HERE = __file__


class Broken(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        raise KeyError("no image")


def fails_alone(*_: object) -> None:
    raise ValueError("x is too large")


def fails_inside_torch() -> None:
    torch.nn.Linear(3, 1)(torch.zeros(2, 4))


def fails_in_a_loader() -> None:
    list(DataLoader(Broken(), num_workers=1))


def fails_in_a_process() -> None:
    with ProcessPoolExecutor(1) as pool:
        list(pool.map(fails_alone, [1]))


def turns_one_into_another() -> None:
    try:
        {}["width"]
    except KeyError as error:
        raise ValueError("the config has no width") from error


def fails_while_handling() -> None:
    try:
        fails_alone()
    except ValueError:
        open("/no/such/log", "a")  # noqa: SIM115


def hides_the_first() -> None:
    try:
        {}["width"]
    except KeyError:
        raise ValueError("the config has no width") from None


def lacks_a_module() -> None:
    import no_such_package.part  # noqa: F401 # pyright: ignore


def lacks_a_name() -> None:
    from json import no_such_name  # noqa: F401 # pyright: ignore


def unpickles_what_is_missing() -> None:
    pickle.loads(b"cno_such_module\nfunction\n.")


def says_much() -> None:
    torch.nn.Linear(3, 1).load_state_dict({"weight": torch.zeros(1, 4)})


def says_nothing() -> None:
    raise NotImplementedError


class Own(Exception):
    def __init__(self, a: int, b: int) -> None:  # can't be unpickled
        super().__init__(f"{a} is not {b}")


def fails_with_an_exception_of_its_own() -> None:
    raise Own(1, 2)


def quotes_a_traceback() -> None:
    try:
        fails_alone()
    except ValueError:
        raise RuntimeError(f"the tool said:\n{traceback.format_exc()}") from None


CASES: list[tuple[Callable[..., None], str, str, str]] = [
    (fails_alone, "ValueError", "x is too large", "fails_alone"),
    (fails_inside_torch, "RuntimeError", "shapes cannot be multiplied", "fails_inside_torch"),
    (fails_in_a_loader, "KeyError", "no image", "__getitem__"),
    (fails_in_a_process, "ValueError", "x is too large", "fails_alone"),
    (turns_one_into_another, "KeyError", "'width'", "turns_one_into_another"),
    (fails_while_handling, "ValueError", "x is too large", "fails_alone"),
    (hides_the_first, "ValueError", "the config has no width", "hides_the_first"),
    (lacks_a_module, "ModuleNotFoundError", "No module named 'no_such_pack", "lacks_a_module"),
    (lacks_a_name, "ImportError", "cannot import name 'no_such_name'", "lacks_a_name"),
    (unpickles_what_is_missing, "ModuleNotFoundError", "no_such_module", "unpickles"),
    (says_much, "RuntimeError", "size mismatch for weight", "says_much"),
    (says_nothing, "NotImplementedError", "", "says_nothing"),
    (fails_with_an_exception_of_its_own, "Own", "1 is not 2", "fails_with_an_exception"),
    (quotes_a_traceback, "ValueError", "x is too large", "fails_alone"),
]


@functools.cache
def written_of(fails: Callable[[], None]) -> str:
    try:
        fails()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


def as_it_is(text: str) -> str:
    return text


def of_a_task(text: str) -> str:
    """What Ray 2.60 makes of an exception in a trial."""
    first = "\x1b[36mray::ImplicitFunc.train()\x1b[39m (pid=7, ip=10.0.0.1, actor_id=ab, repr=f)"
    text = text.replace("Traceback (most recent call last):", first)
    frames = (
        '\n  File "/usr/lib/python3.11/site-packages/ray/tune/trainable/trainable.py", line 328,'
        " in train\n    raise skipped from exception_cause(skipped)"
    )
    return f"Failure # 1 (occurred at 2026-01-01_00-00-00)\n{text.replace(first, first + frames)}"


def of_a_task_cut(text: str) -> str:
    """The same; of the first traceback Ray 2.60 leaves out the first frame."""
    first, *lines = of_a_task(text).splitlines()
    cut = [line for n, line in enumerate(lines) if n not in (1, 2)]
    return "\n".join([first, *cut])


def of_a_creation(text: str) -> str:
    """What Ray 2.60 makes of an exception while the actor is made."""
    task = of_a_task(text).partition("\n")[2]
    return (
        "The actor died because of an error raised in its creation task, "
        f"{task}\n\nAn unexpected internal error occurred while the worker was executing a task."
    )


def of_an_import(text: str) -> str:
    """What Ray 2.60 makes of an actor class that can't be unpickled."""
    outer = (
        "\x1b[36mray::ImplicitFunc.__init__()\x1b[39m (pid=7, ip=10.0.0.1, actor_id=ab)\n"
        '  File "/usr/lib/python3.11/site-packages/ray/_private/function_manager.py", line 658, in '
        "temporary_actor_method\n    raise RuntimeError(\nRuntimeError: The actor with name "
        "ImplicitFunc failed to import on the worker. This may be because needed library "
        "dependencies are not installed in the worker environment:\n\n"
    )
    return f"The actor died because of an error raised in its creation task, {outer}{text}"


@pytest.mark.parametrize(
    "raised_in", [as_it_is, of_a_task, of_a_task_cut, of_a_creation, of_an_import]
)
@pytest.mark.parametrize(("fails", "kind", "message", "where"), CASES)
def test_the_exception_at_the_root_is_found_with_its_place(
    fails: Callable[[], None],
    kind: str,
    message: str,
    where: str,
    raised_in: Callable[[str], str],
):
    text = written_of(fails)
    found = root_cause(raised_in(text))
    assert found.kind == kind
    assert message in found.message
    file, _, line = found.place.rpartition(":")
    assert file == HERE
    functions = [frame for frame in text.splitlines() if f'"{HERE}", line {line},' in frame]
    assert any(f"in {where}" in frame for frame in functions)
    for word in ("ray::", "internal error", "failed to import on the worker", "\x1b"):
        assert word not in str(found)
    assert "\n" not in found.line


def test_a_cause_whose_only_frame_ray_left_out():
    text = written_of(turns_one_into_another)
    first, _, _, *rest = text.splitlines()
    header = "\x1b[36mray::ImplicitFunc.train()\x1b[39m (pid=7, ip=10.0.0.1, actor_id=ab, repr=f)"
    found = root_cause("\n".join([header, *rest]))
    assert found.line.startswith("KeyError: 'width', which became ValueError: the config has no")
    assert first.startswith("Traceback") and "test_root_cause.py:" in found.line


def test_what_an_exception_became_is_told_too():
    found = root_cause(written_of(turns_one_into_another))
    assert found.line.startswith("KeyError: 'width' (")
    assert "which became ValueError: the config has no width (" in found.line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the run failed, and nothing says why"),
        ("the run failed without an error file", "the run failed without an error file"),
        ("ValueError: boom", "ValueError: boom"),
        (
            "The actor died unexpectedly before finishing this task.\n\tclass_name: ImplicitFunc\n"
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
            "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of "
            "file. Some common causes include: (1) the process was killed by the OOM killer",
            "the run's process died: Worker unexpectedly exits with a connection error code 2. End "
            "of file.",
        ),
    ],
)
def test_a_text_without_a_traceback(text: str, expected: str):
    assert str(root_cause(text)) == expected


def test_only_a_module_that_is_not_there_counts_as_missing():
    assert RootCause("ModuleNotFoundError", "No module named 'a.b'").missing_module == "a.b"
    assert RootCause("ImportError", "cannot import name 'a' from 'b'").missing_module is None
    assert RootCause("ValueError", "No module named 'a'").missing_module is None


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("seed 47 fails", "seed 881 fails", True),
        ("seed 47 fails at 470", "seed 881 fails at 470", True),
        ("x=47.5", "x=881.5", False),
        ("<Net at 0x7f00aa11bb22>", "<Net at 0x7f00cc33dd44>", True),
        ("no /tmp/tmpab12/data", "no /tmp/tmpcd34/data", True),
        ("no /r/t1/data", "no /r/t2/data", True),
        ("lr 0.1 is too large", "lr 0.2 is too large", False),
        ("a", "b", False),
    ],
)
def test_failures_are_alike_whatever_names_the_run(a: str, b: str, alike: bool):
    own = [{"47": "<seed>", "/r/t1": "<run>"}, {"881": "<seed>", "/r/t2": "<run>"}]
    like = [
        RootCause("E", text, "f.py:1").like(names) for text, names in zip((a, b), own, strict=True)
    ]
    assert (like[0] == like[1]) is alike
    assert RootCause("E", a, "f.py:2").like(own[0]) != like[0], "another line"
    assert RootCause("F", a, "f.py:1").like(own[0]) != like[0], "another exception"
