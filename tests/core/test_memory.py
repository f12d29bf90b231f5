from __future__ import annotations

import gc

from tune_seeds.core.memory import freeze_imports, frozen_objects


def test_a_process_is_frozen_once_and_what_comes_later_is_collected():
    try:
        freeze_imports()
        assert gc.get_freeze_count() > 1000
        later: list[object] = []
        later.append(later)
        assert gc.is_tracked(later)
        freeze_imports()
        assert any(known is later for known in gc.get_objects()), "it is not frozen"
        del later
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()


def test_a_driver_lets_go_afterwards_unless_somebody_had_frozen_it():
    with frozen_objects():
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()
    gc.freeze()
    try:
        with frozen_objects():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
