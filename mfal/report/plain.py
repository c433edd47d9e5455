"""A summary as values for JSON: all that it holds but the CIF texts."""

import json
from typing import Any

from mfal.acquisition.objectives import Tradeoff
from mfal.numbers import finite_or_none
from mfal.report.candidate import Candidate
from mfal.report.finalists import dynamics_to_plain, vibrations_to_plain
from mfal.report.summary import OracleFacts, Summary

__all__ = ["summary_to_dict", "summary_to_json", "tradeoff_to_plain"]


def summary_to_json(summary: Summary) -> str:
    """Everything in the summary but the CIF texts, as JSON text."""
    return json.dumps(summary_to_dict(summary), indent=1)


def summary_to_dict(summary: Summary) -> dict[str, Any]:
    """Everything in the summary but the CIF texts, as values for JSON."""
    return {
        "finished": summary.finished,
        "spent": summary.spent,
        "reserved": summary.reserved,
        "numbers": summary.numbers,
        "oracles": [_facts(oracle) for oracle in summary.oracles],
        "candidates": [_plain(candidate, summary) for candidate in summary.candidates],
        "campaign": summary.campaign._asdict(),
        "baseline": summary.baseline._asdict() if summary.baseline else None,
        "fidelities": summary.fidelities,
    }


def _facts(oracle: OracleFacts) -> dict[str, Any]:
    """An oracle for JSON."""
    return {**oracle._asdict(), "bounds": [finite_or_none(bound) for bound in oracle.bounds]}


def _plain(candidate: Candidate, summary: Summary) -> dict[str, Any]:
    crystal = candidate.crystal
    found = summary.tradeoffs.get(crystal.hash)
    return {
        "rank": candidate.rank,
        "id": crystal.hash,
        "formula": crystal.formula,
        "composition": crystal.composition,
        "space_group": crystal.space_group,
        "space_group_of_atoms": candidate.group_of_atoms or None,
        "lattice": list(crystal.lattice),
        "source": crystal.source,
        "value": candidate.value,
        "std": candidate.std,
        "unit": summary.target.unit,
        "basis": candidate.basis,
        "censoring": candidate.censoring,
        "standing": candidate.standing,
        "known_as": candidate.known_as,
        "relaxation": candidate.relaxation,
        "vibrations": vibrations_to_plain(candidate),
        "dynamics": dynamics_to_plain(candidate),
        "answers": {
            summary.oracles[m].name: {"value": a.value, "spread": a.spread, "status": a.kind}
            for m, a in candidate.observed.items()
        },
        "predicted": candidate.predicted,
        "measured": candidate.measured,
        "file": f"cifs/{candidate.file_name}" if candidate.cif else None,
        **({"stability": tradeoff_to_plain(found)} if found else {}),
    }


def tradeoff_to_plain(row: Tradeoff) -> dict[str, Any]:
    """A candidate's window for machines; what is unknown is null."""
    numbers = {
        "reduction": row.reduction,
        "oxidation": row.oxidation,
        "width": row.width,
        "hull_distance": row.hull_distance,
    }
    return {
        **{name: finite_or_none(x) for name, x in numbers.items()},
        "feasible": row.feasible,
        "pareto_rank": row.rank if row.rank >= 0 else None,
        "source": row.source,
    }
