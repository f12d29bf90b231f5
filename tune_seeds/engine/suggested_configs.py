"""What a searcher's suggestions become: configs that a run can be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ray.tune.search import Searcher

from tune_seeds.engine.first_suggestions import check_resolved, try_out, unwrapped
from tune_seeds.engine.random_search import VariantSearch
from tune_seeds.engine.searched_space import SearchedSpace
from tune_seeds.training.trainable import SeededTrainable


@dataclass(frozen=True, slots=True)
class Configs:
    """What suggestions become: configs, checked before a run gets them.

    Attributes:
        space: the search space.
        trainable: what is trained.
    """

    space: SearchedSpace
    trainable: SeededTrainable

    @classmethod
    def of(cls, space: dict[str, Any], trainable: SeededTrainable) -> Configs:
        """The configs of a search space."""
        return cls(SearchedSpace.of(space), trainable)

    def config(self, searcher: Searcher, suggested: Any) -> dict[str, Any]:
        """The config of a suggestion.

        Raises:
            ValueError: it is none that a run could be given; the message says why.
        """
        source = f"a suggestion of {type(unwrapped(searcher)).__name__}"
        if not isinstance(suggested, Mapping):
            raise ValueError(f"{source} is no dict: {suggested!r}")
        entries = dict(cast(Mapping[str, Any], suggested))
        own = isinstance(searcher, VariantSearch)
        config = entries if own else self.space.config(entries)
        if "seed" in config:
            raise ValueError(
                f"the searcher suggested a value for 'seed' ({config['seed']!r}); take it out "
                "of the searcher's own space: seeds are the study's, not searched"
            )
        check_resolved(config, source)
        if self.trainable.check is not None:
            try:
                self.trainable.check(config)
            except ValueError as error:
                raise ValueError(f"{source} does not fit: {error}") from error
        return config

    def try_out(self, searcher: Searcher) -> dict[str, Any] | None:
        """Check what a copy of a searcher suggests first; see ``try_out``.

        Returns:
            Its first config, where it could be asked.
        """
        made: list[dict[str, Any]] = []
        try_out(searcher, lambda suggested: made.append(self.config(searcher, suggested)))
        return made[0] if made else None
