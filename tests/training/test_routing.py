from __future__ import annotations

import pytest

from tune_seeds.training.config_routing import route


class Model:
    def __init__(self, lr=0.1, width=8, batch_size=1): ...


class Data:
    def __init__(self, batch_size=16, root="."): ...


class Open:
    def __init__(self, depth=1, **kwargs): ...


def trainer(precision=32, max_epochs=None): ...


TARGETS = {"model": Model, "data": Data, "trainer": trainer}


def test_keys_go_where_a_parameter_has_their_name():
    assert route({"lr": 1, "root": "x", "precision": 16, "seed": 3}, TARGETS) == {
        "model": {"lr": 1},
        "data": {"root": "x"},
        "trainer": {"precision": 16},
    }


def test_prefixes_choose():
    config = {"model.batch_size": 1, "data.batch_size": 2, "trainer": {"precision": 16}}
    assert route(config, TARGETS) == {
        "model": {"batch_size": 1},
        "data": {"batch_size": 2},
        "trainer": {"precision": 16},
    }


def test_an_ambiguous_key_is_refused_with_both_spellings():
    with pytest.raises(ValueError, match=r"'model.batch_size' or 'data.batch_size'"):
        route({"batch_size": 1}, TARGETS)


@pytest.mark.parametrize(
    ("key", "nearest"), [("widht", "width"), ("model.widht", "width"), ("data.rot", "data.root")]
)
def test_an_unknown_key_is_refused_with_the_nearest_name(key: str, nearest: str):
    with pytest.raises(ValueError, match=f"taken by none of .*did you mean '.*{nearest}'"):
        route({key: 1}, TARGETS)


def test_kwargs_are_reached_by_a_prefix_only():
    targets = {"model": Open, "trainer": trainer}
    assert route({"model.anything": 1, "depth": 2}, targets)["model"] == {"anything": 1, "depth": 2}
    with pytest.raises(ValueError, match=r"through \*\*kwargs write 'model.anything'"):
        route({"anything": 1}, targets)


def test_a_mapping_for_a_parameter_stays_a_mapping():
    def model(data=None): ...

    assert route({"data": {"a": 1}}, {"model": model, "data": Data}) == {
        "model": {"data": {"a": 1}},
        "data": {},
    }
