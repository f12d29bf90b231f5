"""What the seeds of a finished study say of its choices, in sentences with their numbers."""

from __future__ import annotations

from tune_seeds import SeedResults


def choice_sentences(results: SeedResults) -> list[str]:
    """Whether the best config, and the value of each hyperparameter, depends on the seed.

    A hyperparameter's value is chosen by its mean over the others: the best config may have another
    where it goes well with one value of the others only.

    Args:
        results: of a study in which at least two configs hold every epoch on every seed.
    """
    effect, best = results.seed_effect(), results.best.group
    won = effect.win_shares[best] * effect.n_seeds
    sentences = [
        f"the choice of the config {'does not depend' if won == effect.n_seeds else 'depends'} on "
        f"the seed: {best} is first on {won:.3g} of {effect.n_seeds} seeds"
    ]
    for choice in effect.choices:
        verdict = "does not depend" if choice.same else "depends"
        wins = choice.agreement * effect.n_seeds
        sentences.append(
            f"the choice of {choice.name}={choice.overall} {verdict} on the seed: "
            f"{wins:.3g} of {effect.n_seeds} seeds alone would choose it "
            f"({choice.by_chance * effect.n_seeds:.2g} by chance)"
        )
        if not choice.same:
            by_seed = zip(results.seeds, choice.by_seed, strict=True)
            sentences[-1] += "; " + ", ".join(
                f"seed {seed}: {' or '.join(values)}" for seed, values in by_seed
            )
    shares, chance = effect.variance, effect.by_chance
    sentences.append(
        f"the seeds agree on the ranking of the {len(effect.win_shares)} configs with Kendall's "
        f"W = {effect.kendalls_w:.2f} ({chance.kendalls_w})"
    )
    sentences.append(
        f"of the variance {shares.config:.0%} is the config's, {shares.seed:.0%} the seed's, "
        f"{shares.residual:.0%} the rest"
    )
    if effect.separation is not None:
        sentences.append(
            f"seeds that would tell the first two apart: {effect.separation.range_text}"
        )
    return sentences
