"""From traces to findings: where runs part, why, and what the seed does not reach."""

from __future__ import annotations

from tune_seeds.reproduce.audit.evidence import Evidence
from tune_seeds.reproduce.audit.finding import Finding
from tune_seeds.reproduce.audit.irreproducible import irreproducible
from tune_seeds.reproduce.audit.lost_over_pause import lost_over_pause
from tune_seeds.reproduce.audit.unreached import active_in_validation, unreached


def diagnose(evidence: Evidence) -> list[Finding]:
    """Everything that is wrong, the irreproducible first."""
    differing = irreproducible(evidence)
    pauses = [] if evidence.pauses is None else lost_over_pause(evidence.pauses, bool(differing))
    return [*differing, *pauses, *unreached(evidence), *active_in_validation(evidence.run)]
