"""Candidates handed to people, to DFT and to the laboratory, and their answers taken back.

They keep an account of their own, HANDOFF: what a measurement costs is its owner's business, and
is not charged to the campaign's budget.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mfal.campaign.folder import CAMPAIGN, HANDOFF, LEDGER_NAME
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.lock import exclusive
from mfal.campaign.ledger.records import Outcome, Proposal, Query
from mfal.errors import MfalError

__all__ = ["ask", "measurement", "tell"]

_VERSION = "1"


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
    written again.

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

    check_new(batch)  # before anything is written to the ledger
    cifs = {proposal.crystal.hash: cif for proposal, cif in ranked}
    with exclusive(folder), Ledger(folder / LEDGER_NAME) as ledger:
        wanted = ranked[0][0].oracle if ranked else ""
        open_ = [query for query in ledger.pending(HANDOFF) if query.oracle == wanted]
        asked = ledger.asked(HANDOFF, list(cifs))
        new = [p for p, _ in ranked if (p.crystal.hash, p.fidelity) not in asked]
        new = [
            proposal._replace(parents=ledger.queries_about(CAMPAIGN, proposal.crystal.hash))
            for proposal in new[: max(0, number - len(open_))]
        ]
        if new:
            rounds = [n for n, _ in ledger.rounds(HANDOFF)]
            ledger.propose(HANDOFF, max(rounds, default=0) + 1, new, {"measurement": wanted})
        queries = [q for q in ledger.pending(HANDOFF) if q.oracle == wanted][:number]
        if not queries:
            raise MfalError(f"{folder}: no candidate is left to ask about", "discover more first")
        campaign = _campaign_name(folder)
        requests = [
            Request(
                id=request_id(campaign, query.id),
                formula=query.crystal.formula,
                measurement=query.oracle,
                structure=parse_structure(cifs[query.crystal.hash], query.crystal.formula)
                if query.crystal.hash in cifs
                else None,
                conditions="300 K",
            )
            for query in queries
        ]
        written = write_batch(batch, campaign, requests, vasp=vasp, flow=flow)
        for query in queries:
            ledger.submitted(query, {"batch": batch.name})
    return queries, written.notes


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
        batch belongs to another campaign.
    """
    from mfal.handoff.answers import read_answers
    from mfal.handoff.batch import read_batch, request_id

    if not source.exists():
        raise MfalError(f"{source}: no such file or folder", "give the folder that mfal ask wrote")
    batch = read_batch(source if source.is_dir() else source.parent)
    campaign = _campaign_name(folder)
    if batch.campaign != campaign:
        raise MfalError(
            f"{source} belongs to campaign {batch.campaign}, not to {campaign}",
            "give the folder of the campaign that asked",
        )
    with exclusive(folder), Ledger(folder / LEDGER_NAME) as ledger:
        ended = {
            request_id(campaign, answer.query.id): answer.value
            for answer in ledger.answers(HANDOFF)
        }
        answers = read_answers(source, batch, answered=ended, partial=partial)
        open_ = {request_id(campaign, query.id): query for query in ledger.pending(HANDOFF)}
        number = 0
        for answer in answers.answers:
            query = open_.get(answer.id)
            if query is None:
                continue
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


def _campaign_name(folder: Path) -> str:
    """The campaign's name in ids: its folder's, as far as letters, digits and hyphens go."""
    return re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-")[:40] or "campaign"


def measurement(candidate: Proposal, name: str, fidelity: int) -> Proposal:
    """A proposal's crystal, asked for a measurement by hand."""
    return candidate._replace(
        fidelity=fidelity, oracle=name, oracle_version=_VERSION, cost=0.0, structures=1
    )
