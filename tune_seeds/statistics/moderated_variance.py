"""Variances of few seeds, judged in the company of the other configs of their study.

The variance of three scores is easily wrong by a factor of ten. Smyth (2004, doi:10.2202/1544-
6115.1027; the method of limma) takes the true variances of a study to be scattered as scaled
inverse χ² around a common one, and learns both from the study. A handful of finalists does not
settle how far the variances scatter, so no single answer is taken here: every hypothesis about the
common variance and its scatter is kept, with the weight that the variances seen give it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tune_seeds.statistics.distributions import log_gamma

#: Degrees of freedom that another config's variance may be worth; the lowest lets configs differ
#: in their spread as they like, the highest gives all of them the same.
DEGREES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 100.0)
_STEPS = 13
# The common variance is sought from e⁻²·⁵ of the typical one seen to e² of the mean of them.
_BELOW, _ABOVE = 2.5, 2.0


@dataclass(frozen=True, slots=True, eq=False)
class VarianceHypotheses:
    """What the variances of a study may have in common.

    Attributes:
        degrees: of freedom that the common variance is worth to one config.
        variance: the common variance.
        log_likelihood: of the variances seen.
    """

    degrees: Float[np.ndarray, " hypothesis"]
    variance: Float[np.ndarray, " hypothesis"]
    log_likelihood: Float[np.ndarray, " hypothesis"]

    def moderated(
        self, variances: Float[np.ndarray, " config"], df: Float[np.ndarray, " config"]
    ) -> tuple[Float[np.ndarray, "hypothesis config"], Float[np.ndarray, "hypothesis config"]]:
        """Each config's variance under each hypothesis, and the degrees of freedom behind it.

        Smyth's equation 5: the common variance and the config's own, weighted by their degrees of
        freedom. A config with a single seed (df 0) gets the common one.
        """
        own = np.asarray(df, dtype=np.float64)
        total = self.degrees[:, None] + own
        return (self.degrees[:, None] * self.variance[:, None] + own * variances) / total, total


def variance_hypotheses(
    variances: Float[np.ndarray, " config"], df: Float[np.ndarray, " config"]
) -> VarianceHypotheses:
    """What the sample variances of configs say of the variances that they have in common.

    Under a hypothesis each sample variance over the common one is F distributed with (df,
    degrees) degrees of freedom (Smyth 2004, §4).

    Args:
        variances: of configs with at least two seeds, above 0.
        df: their degrees of freedom, above 0.
    """
    typical = float(np.exp(np.average(np.log(variances), weights=df)))
    average = float(np.average(variances, weights=df))
    common = np.geomspace(typical * np.exp(-_BELOW), average * np.exp(_ABOVE), _STEPS)
    degrees, variance = (part.ravel() for part in np.meshgrid(DEGREES, common, indexing="ij"))
    likelihood = np.zeros(len(degrees))
    for seen, own in zip(variances.tolist(), df.tolist(), strict=True):
        ratio = seen / variance
        likelihood += (
            log_gamma((own + degrees) / 2)
            - log_gamma(degrees / 2)
            + own / 2 * np.log(own / degrees)
            + own / 2 * np.log(ratio)
            - (own + degrees) / 2 * np.log1p(own * ratio / degrees)
        )
    return VarianceHypotheses(degrees, variance, likelihood)
