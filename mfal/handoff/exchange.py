"""Candidates handed to people, to DFT and to the laboratory, and their answers taken back.

They keep an account of their own, HANDOFF: what a measurement costs is its owner's business, and
is not charged to the campaign's budget.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfal.campaign.folder import CAMPAIGN, HANDOFF, LEDGER_NAME, campaign_id
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.lock import exclusive
from mfal.campaign.ledger.records import Outcome, Proposal, Query
from mfal.errors import MfalError

if TYPE_CHECKING:
    from mfal.handoff.batch import AskedBatch

__all__ = ["ask", "measurement", "tell", "withdraw"]

_VERSION = "1"
_WITHDRAWN = "withdrawn"
"""Key in the note of a question that was taken back."""


def ask(
    folder: Path,
    ranked: Sequence[tuple[Proposal, str]],
    number: int,
    batch: Path,
    *,
    vasp: bool = True,
    flow: bool = False,
) -> tuple[list[Query], tuple[str, ...]]:
    """Write a batch folder for the best candidates that have not been answered.

    What was asked before and is still open comes first, so that a batch that was lost can be
    written again; what was withdrawn takes its place in the ranking like any other.

    Args:
      folder: of the campaign.
      ranked: proposals, best first, each with the CIF of its atoms.
      number: measurements to ask for.
      batch: folder to write, new.
      vasp: whether VASP inputs are wanted.
      flow: whether atomate2 flows are wanted.

    Returns:
      The queries, and notes on what couldn't be written.

    Raises:
      MfalError: where nothing is left to ask, or the folder can't be written.
    """
    from mfal.crystals.reading import parse_structure
    from mfal.handoff.batch import Request, check_new, request_id, write_batch
    from mfal.handoff.measurements import quantity

    check_new(batch)  # before anything is written to the ledger
    cifs = {proposal.crystal.hash: cif for proposal, cif in ranked}
    with exclusive(folder), Ledger(folder / LEDGER_NAME) as ledger:
        campaign = campaign_id(folder, ledger)
        if ledger.meta("id") is None:  # begun before ids: it keeps the one that it has now
            ledger.start({"id": campaign})
        wanted = ranked[0][0].oracle if ranked else ""
        out, waiting = _open(ledger, wanted)
        held = {query.crystal.hash for query in out}
        held |= {a.query.crystal.hash for a in ledger.answers(HANDOFF) if a.query.oracle == wanted}
        chosen = [p for p, _ in ranked if p.crystal.hash not in held][: max(0, number - len(out))]
        new = [
            proposal._replace(parents=ledger.queries_about(CAMPAIGN, proposal.crystal.hash))
            for proposal in chosen
            if proposal.crystal.hash not in waiting
        ]
        if new:
            rounds = [n for n, _ in ledger.rounds(HANDOFF)]
            ledger.propose(HANDOFF, max(rounds, default=0) + 1, new, {"measurement": wanted})
        names = {proposal.crystal.hash for proposal in chosen}
        again = {query.id for query in out}
        queries = [
            query
            for query in ledger.pending(HANDOFF)
            if query.oracle == wanted and (query.id in again or query.crystal.hash in names)
        ][:number]
        if not queries:
            raise MfalError(
                f"{folder}: no candidate is left to ask the {wanted or 'measurement'} of",
                "ask for another --measurement, --withdraw a batch, or discover more",
            )
        requests = [
            Request(
                id=request_id(campaign, query.id),
                formula=query.crystal.formula,
                measurement=query.oracle,
                structure=parse_structure(cifs[query.crystal.hash], query.crystal.formula)
                if query.crystal.hash in cifs
                else None,
                conditions=quantity(query.oracle).conditions,
            )
            for query in queries
        ]
        written = write_batch(batch, campaign, requests, vasp=vasp, flow=flow)
        for query in queries:
            ledger.submitted(query, {"batch": batch.name})
    return queries, written.notes


def withdraw(folder: Path, name: str) -> list[Query]:
    """Take back what is still open of a batch, so that it may be asked anew.

    Answers that have come stay; nothing is removed from the ledger.

    Args:
      folder: of the campaign.
      name: of the batch, the name of the folder that `ask` wrote.

    Returns:
      The questions that are no longer out.

    Raises:
      MfalError: where no question of such a batch is open.
    """
    with exclusive(folder), Ledger(folder / LEDGER_NAME) as ledger:
        notes = ledger.submissions(HANDOFF)
        batches: dict[str, list[Query]] = {}
        for query in ledger.pending(HANDOFF):
            note = notes.get(query.id, {})
            if not note.get(_WITHDRAWN):
                batches.setdefault(str(note.get("batch", "")), []).append(query)
        if name not in batches:
            known = ", ".join(f"{each} ({len(of)} open)" for each, of in sorted(batches.items()))
            raise MfalError(
                f"{folder}: nothing is open of a batch {name}",
                f"give one of {known}" if known else "nothing is out at all",
            )
        for query in batches[name]:
            ledger.submitted(query, {"batch": name, _WITHDRAWN: True})
    return batches[name]


def _open(ledger: Ledger, oracle: str) -> tuple[list[Query], set[str]]:
    """Open questions that are out, and the crystals of those that were withdrawn."""
    notes = ledger.submissions(HANDOFF)
    asked = [query for query in ledger.pending(HANDOFF) if query.oracle == oracle]
    out = [query for query in asked if not notes.get(query.id, {}).get(_WITHDRAWN)]
    return out, {query.crystal.hash for query in asked if query not in out}


def tell(folder: Path, source: Path, *, partial: bool = False) -> tuple[int, tuple[str, ...]]:
    """Take answers from a batch's folder, or from its table.

    Args:
      folder: of the campaign.
      source: the batch's folder, or the table in it.
      partial: take what is right and leave the rest open.

    Returns:
      How many were written, and what was refused.

    Raises:
      MfalError: where a line is wrong and `partial` isn't set (nothing is written then), or the
        batch belongs to another campaign or was withdrawn.
    """
    from mfal.handoff.answers import read_answers
    from mfal.handoff.batch import read_batch, request_id

    if not source.exists():
        raise MfalError(f"{source}: no such file or folder", "give the folder that mfal ask wrote")
    batch = read_batch(source if source.is_dir() else source.parent)
    with exclusive(folder), Ledger(folder / LEDGER_NAME) as ledger:
        campaign = campaign_id(folder, ledger)
        if batch.campaign != campaign:
            raise MfalError(
                f"{source} belongs to campaign {batch.campaign}, not to {campaign}",
                "give the folder of the campaign that asked",
            )
        told = {request_id(campaign, a.query.id): a for a in ledger.answers(HANDOFF)}
        open_ = {request_id(campaign, query.id): query for query in ledger.pending(HANDOFF)}
        _check_asked(source, batch, {**open_, **{name: a.query for name, a in told.items()}})
        notes = ledger.submissions(HANDOFF)
        back = {name for name, q in open_.items() if notes.get(q.id, {}).get(_WITHDRAWN)}
        if back & set(batch.requests):
            raise MfalError(
                f"{source}: {len(back & set(batch.requests))} of its questions were withdrawn",
                "ask them again with mfal ask, and tell their answers there",
            )
        ended = {name: answer.value for name, answer in told.items()}
        answers = read_answers(source, batch, answered=ended, partial=partial)
        number = 0
        for answer in answers.answers:
            query = open_[answer.id]
            if answer.status == "abandoned":
                number += ledger.abandon(query, answer.note or "by its owner")
                continue
            status = "ok" if answer.status == "ok" else f"failed: {answer.note or 'no value'}"
            detail = {
                "unit": answer.unit,
                "censoring": answer.censoring,
                "note": answer.note,
                "where": answer.where,
            }
            outcome = Outcome(answer.value, answer.uncertainty, status, 0.0, detail)
            number += ledger.conclude(query, outcome)
    return number, answers.problems


def _check_asked(source: Path, batch: "AskedBatch", asked: dict[str, Query]) -> None:
    """Ids of ledgers from before campaigns had names of their own may be another's."""
    for name, request in batch.requests.items():
        query = asked.get(name)
        if query is None or (query.crystal.formula, query.oracle) != (
            request.formula,
            request.measurement,
        ):
            raise MfalError(
                f"{source}: this campaign never asked {name} ({request.formula})",
                "give the folder of the campaign that asked",
            )


def measurement(candidate: Proposal, name: str, fidelity: int) -> Proposal:
    """A proposal's crystal, asked for a measurement by hand."""
    return candidate._replace(
        fidelity=fidelity, oracle=name, oracle_version=_VERSION, cost=0.0, structures=1
    )
