"""What a campaign has found, read from its ledger alone."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mfal.acquisition.objectives import Requirement, Tradeoff, rank_tradeoffs
from mfal.campaign.folder import BASELINE, CAMPAIGN, HANDOFF
from mfal.campaign.ledger.book import Answer, Ledger
from mfal.campaign.measured import Worth, measured_values, overruled
from mfal.campaign.standing import COUNTING, STANDINGS, Standing, counted_as, repeated, standing_of
from mfal.campaign.strategy.stability import stability_from_plain
from mfal.report.candidate import SIGNS, Candidate, candidates_html
from mfal.report.curve import Curve, best_curve, compare_searches
from mfal.report.finalists import unsimulated, with_last_answers

__all__ = [
    "Candidate",
    "OracleFacts",
    "Summary",
    "summarise",
]


class OracleFacts(NamedTuple):
    """What a reader must know of one fidelity."""

    name: str
    version: str
    unit: str
    cost: float
    """CPU seconds of one evaluation."""
    higher_is_better: bool
    bounds: Sequence[float] = (-math.inf, math.inf)
    """Within which its answers lie; infinite in ledgers that don't say."""


class Summary(NamedTuple):
    """A whole campaign for readers."""

    config: dict[str, Any]
    oracles: tuple[OracleFacts, ...]
    candidates: list[Candidate]
    """Best first, by standing: the best new of each formula and the pool's, further polymorphs of
    these, what relaxed to one of them, known compounds, the rest."""
    campaign: Curve
    baseline: Curve | None
    """Of the strategy that ran beside it at equal cost."""
    initial_cost: float
    """CPU seconds of the initial data, which both searches pay: known crystals, or candidates of a
    pool, which both have then found."""
    best_known: Answer | None
    """The best of the known crystals at the target fidelity."""
    spent: float
    reserved: float
    numbers: dict[str, dict[str, int]]
    """Queries by oracle name: observed, failed, abandoned."""
    mixes: list[dict[str, int]]
    """Queries by oracle name in each round, the initial data first."""
    spending: list[dict[str, float]]
    """CPU seconds of those queries."""
    fidelities: list[str]
    """What each cheap fidelity is worth, one sentence each; empty before the end."""
    correlations: dict[int, list[list[float]]]
    """[M, M], by round: the proxy's learnt correlation between fidelities before it decided."""
    intervals: dict[int, list[float]]
    """[M], by round: multiples of the proxy's standard deviation that covered 90 % of the rows
    held out in its fit."""
    answers: list[Answer]
    """All of the campaign's, in the order of decision."""
    finished: bool
    tradeoffs: dict[str, Tradeoff] = {}  # noqa: RUF012 - a tuple's default, never written to
    """Stability windows and Pareto ranks of the candidates by crystal hash, where the campaign
    looks at them."""
    unsimulated: dict[str, float] = {}  # noqa: RUF012 - a tuple's default, never written to
    """CPU seconds that whole runs of dynamics would still take, of finalists that had none or
    shorter ones, by crystal hash."""

    @property
    def baseline_name(self) -> str:
        """The strategy that ran beside the campaign."""
        return str(self.config.get("baseline", "funnel"))

    @property
    def comparison(self) -> list[str]:
        """How the campaign compares with the search beside it; empty before the end."""
        if self.baseline is None or not self.finished:
            return []
        better = self.target.higher_is_better
        return [compare_searches(self.campaign, self.baseline, self.baseline_name, better)]

    @property
    def begun_with(self) -> str:
        """What the initial data are about, in words."""
        return "candidates drawn from the pool" if self.config.get("pool") else "known crystals"

    @property
    def none_counts(self) -> str:
        """The sentence for a campaign without a candidate that counts."""
        generated = self.config.get("generate") or not self.config.get("pool")
        return f"No candidate {'is new and ' if generated else ''}meets the requirement"

    @property
    def ion(self) -> str:
        """Symbol of the ion that moves."""
        return str(self.config.get("ion", "Li"))

    @property
    def ion_name(self) -> str:
        """Its element's name in words: "lithium"."""
        from pymatgen.core import Element

        return str(Element(self.ion).long_name).lower()

    @property
    def target(self) -> OracleFacts:
        """The oracle that everything is about."""
        return self.oracles[-1]

    def _repr_html_(self) -> str:
        """The ranked candidates, for notebooks."""
        return candidates_html(self.candidates, f"{self.target.name}, {self.target.unit}")


def summarise(ledger: Ledger, *, number: int | None = None) -> Summary:
    """Reads a campaign, finished or not.

    Args:
      ledger: of the campaign.
      number: take only crystals of the latest so many queries and of the best so many answers,
        which takes no longer in a long ledger; candidates beyond and curves are then missing.
    """
    config = ledger.meta("config") or {}
    oracles = tuple(OracleFacts(**facts) for facts in ledger.meta("oracles") or [])
    target = len(oracles) - 1
    better = oracles[target].higher_is_better if oracles else True
    answers = (
        ledger.answers(CAMPAIGN)
        if number is None
        else ledger.foremost(CAMPAIGN, target, number=number, largest=better)
    )
    rounds = ledger.rounds(CAMPAIGN)
    final = next((detail for _, detail in reversed(rounds) if detail.get("final")), None)
    predictions = (final or {}).get("predictions", {})
    initial = [answer for answer in answers if answer.query.round == 0]
    # Known crystals are no finds; candidates of a pool are, for the baseline as well.
    known = [answer for answer in initial if not answer.query.crystal.proposed]
    drawn = [answer for answer in initial if answer.query.crystal.proposed]
    beside = ledger.answers(BASELINE) if number is None else []
    proposed = [answer for answer in answers if answer.query.crystal.proposed]
    tallies = [tally for tally in ledger.tallies() if tally.account == CAMPAIGN]
    candidates = _candidates(proposed, predictions, target, oracles, ledger)
    tradeoffs = _tradeoffs(config, candidates, (final or {}).get("stability", {}), better)
    limit = _hull_limit(config)
    candidates = with_last_answers(candidates, ledger)
    candidates = _by_standing(candidates, tradeoffs, limit, config)

    def curve(later: Sequence[Answer], account: str) -> Curve:
        thoughts = ledger.thoughts(account)
        return best_curve([*drawn, *later], _cost(known), target, better, limit, thoughts)

    by_kind = {kind: sum(t.cost for t in tallies if t.kind == kind) for kind in _KINDS}
    spent = by_kind["observed"] + by_kind["failed"] + by_kind["decided"]
    mixes = _mixes(answers, oracles)
    return Summary(
        config=config,
        oracles=oracles,
        candidates=candidates,
        campaign=curve([a for a in answers if a.query.round > 0], CAMPAIGN),
        baseline=curve(beside, BASELINE) if beside else None,
        initial_cost=_cost(initial),
        best_known=_best(
            [a for a in known if a.query.fidelity == target and a.value is not None], better
        ),
        spent=spent,
        reserved=max(0.0, by_kind["proposed"] - spent - by_kind["abandoned"]),
        numbers={
            oracle.name: {
                kind: sum(t.number for t in tallies if t.kind == kind and t.fidelity == m)
                for kind in _KINDS[1:4]
            }
            for m, oracle in enumerate(oracles)
        },
        mixes=[{name: n for name, (n, _) in mix.items()} for mix in mixes],
        spending=[{name: cost for name, (_, cost) in mix.items()} for mix in mixes],
        fidelities=(final or {}).get("fidelities", []),
        correlations={n: d["correlation"] for n, d in rounds if "correlation" in d},
        intervals={n: d["interval"] for n, d in rounds if "interval" in d},
        answers=answers,
        finished=final is not None,
        tradeoffs=tradeoffs,
        unsimulated=unsimulated(ledger),
    )


_KINDS = ("proposed", "observed", "failed", "abandoned", "decided")


def _measured(ledger: Ledger) -> dict[str, dict[str, str]]:
    """Answers to what was handed over, by crystal and quantity."""
    found: dict[str, dict[str, str]] = {}
    for answer in ledger.answers(HANDOFF):
        text = str(answer.detail.get("status", answer.kind))
        if answer.value is not None:
            sign = SIGNS.get(str(answer.detail.get("censoring")), "")
            text = f"{sign}{answer.value:.4g} {answer.detail.get('unit', '')}"
        found.setdefault(answer.query.crystal.hash, {})[answer.query.oracle] = text
    return found


def _candidates(
    answers: Sequence[Answer],
    predictions: dict[str, Any],
    target: int,
    oracles: Sequence[OracleFacts],
    ledger: Ledger,
) -> list[Candidate]:
    """Candidates, ranked by what was measured, or else answered, or else expected of them."""
    told, by_hand = _measured(ledger), {}
    better = True
    if oracles:
        better = oracles[target].higher_is_better
        by_hand = measured_values(ledger.answers(HANDOFF), oracles[target].unit)
    by_crystal: dict[str, dict[int, Answer]] = {}
    for answer in answers:
        by_crystal.setdefault(answer.query.crystal.hash, {})[answer.query.fidelity] = answer
    found = []
    for name, observed in by_crystal.items():
        good = {m: answer for m, answer in observed.items() if answer.kind == "observed"}
        if not good:
            continue
        highest = good[max(good)]
        predicted = predictions.get(name) or highest.query.predicted
        verdict = None
        if target in good and (value := good[target].value) is not None:
            answered = good[target]
            verdict = Worth(value, answered.spread, "calculated", answered.censoring)
        elif predicted:
            verdict = Worth(predicted["mean"][target], predicted["std"][target], "predicted")
        verdict = overruled(verdict, by_hand[name][1] if name in by_hand else None)
        if verdict is None:
            continue
        candidate = Candidate(
            rank=0,
            crystal=highest.query.crystal,
            value=verdict.value,
            std=verdict.spread,
            basis=verdict.basis,
            observed=observed,
            predicted=predicted,
            measured=told.get(name, {}),
            cif=highest.detail.get("cif"),
            censoring=verdict.censoring,
        )
        found.append((*verdict.order(better), name, candidate))
    ordered = [candidate for *_, candidate in sorted(found, key=lambda row: row[:-1])]
    return [candidate._replace(rank=rank) for rank, candidate in enumerate(ordered, 1)]


def _tradeoffs(
    config: dict[str, Any],
    candidates: Sequence[Candidate],
    final: dict[str, Any],
    better: bool,
) -> dict[str, Tradeoff]:
    """Tradeoffs by the last word on each window, or by what was known when it was chosen."""
    stability = config.get("stability", {})
    rows, limits = [], []
    for candidate in candidates:
        chosen = (a.query.predicted.get("stability") for a in candidate.observed.values())
        known = final.get(candidate.crystal.hash) or next(filter(None, chosen), None)
        if known:
            rows.append((candidate.crystal.hash, candidate.crystal.formula, candidate.value))
            limits.append(stability_from_plain(known))
    if not rows:
        return {}
    requirement = Requirement(stability["low"], stability["high"], stability["max_hull_distance"])
    ranked = rank_tradeoffs(rows, limits, requirement, higher_is_better=better)
    return {row.id: row for row in ranked}


def _hull_limit(config: dict[str, Any]) -> float | None:
    """The greatest hull distance that the campaign allows, eV per atom, if it asks for one."""
    stability = config.get("stability", {})
    asks = stability.get("mode") == "constraint"
    return float(stability["max_hull_distance"]) if asks else None


def _by_standing(
    candidates: Sequence[Candidate],
    tradeoffs: dict[str, Tradeoff],
    limit: float | None,
    config: dict[str, Any],
) -> list[Candidate]:
    """Candidates with their standing, in the order of `STANDINGS`."""
    constrained = config.get("stability", {}).get("mode") == "constraint"

    def standing(candidate: Candidate) -> Standing:
        found = tradeoffs.get(candidate.crystal.hash)
        own = standing_of((a.detail for a in candidate.observed.values()), limit)
        misses = constrained and found is not None and found.feasible is False
        return "unstable" if misses and own in COUNTING else own

    judged = [candidate._replace(standing=standing(candidate)) for candidate in candidates]
    fresh = [c for c in judged if c.standing in COUNTING]
    again = repeated((c.crystal.hash, c.crystal.formula, c.arrangement) for c in fresh)
    judged = [c._replace(standing="repeated") if c.crystal.hash in again else c for c in judged]
    seen: set[str] = set()
    for i, candidate in enumerate(judged):
        if candidate.standing in COUNTING:
            name = counted_as(candidate.crystal)
            judged[i] = candidate._replace(standing="polymorph") if name in seen else candidate
            seen.add(name)
    place = {name: 0 if name in COUNTING else i for i, name in enumerate(STANDINGS)}
    ordered = sorted(judged, key=lambda c: place[c.standing])
    return [candidate._replace(rank=rank) for rank, candidate in enumerate(ordered, 1)]


def _mixes(
    answers: Sequence[Answer], oracles: Sequence[OracleFacts]
) -> list[dict[str, tuple[int, float]]]:
    """Number and cost of queries by oracle name, round by round."""
    rounds = max((answer.query.round for answer in answers), default=-1) + 1
    mixes = [{oracle.name: (0, 0.0) for oracle in oracles} for _ in range(rounds)]
    for answer in answers:
        mix, name = mixes[answer.query.round], oracles[answer.query.fidelity].name
        number, cost = mix[name]
        charged = 0.0 if answer.kind == "abandoned" else answer.query.cost
        mix[name] = number + 1, cost + charged
    return mixes


def _best(answers: Sequence[Answer], better: bool) -> Answer | None:
    key = (lambda a: a.value) if better else (lambda a: -a.value)
    return max(answers, key=key, default=None)


def _cost(answers: Sequence[Answer]) -> float:
    return sum(answer.query.cost for answer in answers if answer.kind != "abandoned")
