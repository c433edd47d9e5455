"""One query, answered: what a worker runs.

A task is plain data and an answer is plain data, so any executor can carry them. Nothing here
knows of the ledger. Where there is a device that serves several tasks at once, a task goes out in
parts: `arrange`, `relax_together` on the device, `settle`, `prepare_together` on the device,
`evaluate`, as far as its crystal and its oracle want them.
"""

import os
import re
import statistics
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.campaign.ledger.records import CrystalRecord, Outcome, Query
from mfal.errors import MfalError
from mfal.numbers import number_or_text
from mfal.oracles.loading import ask_oracle, load_oracles

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.stability.arrangements import LowestFound
    from mfal.oracles.types import Oracle

__all__ = [
    "OTHER_ORACLES",
    "Arranged",
    "Task",
    "arrange",
    "evaluate",
    "has_preparation",
    "prepare_together",
    "reference_of",
    "relax_together",
    "settle",
    "task_of",
]

OTHER_ORACLES = {"imaginary_modes": "mfal.oracles.stability.vibrations:vibrations_oracle"}
"""Oracles that a campaign may ask beside its own, by name."""
_BY_LENGTH = re.compile(r"[A-Z][a-z]?_[0-9]+fs")
"""Names of dynamics by their length (`mfal.oracles.dynamics.short`)."""


def reference_of(oracle: str) -> str | None:
    """Where an oracle comes from that is not the campaign's own; None for one that is."""
    if _BY_LENGTH.fullmatch(oracle):
        return f"mfal.oracles.dynamics.short:{oracle}"
    return OTHER_ORACLES.get(oracle)


class Task(NamedTuple):
    """All that a worker must know."""

    crystal: CrystalRecord
    references: tuple[str, ...]
    """Where the oracles come from, each as module:function."""
    oracle: str
    """Name of the oracle to ask."""
    structures: int
    """Atom arrangements wanted."""
    seed: int
    relax: bool = False
    """Whether these are relaxed where they can be, and the oracle asked about the lowest alone."""
    known: tuple[str, ...] = ()
    """Further tables of known crystals that the relaxed one is compared with."""
    hide: tuple[str, ...] = ()
    """Formulas of compounds that nothing is to be known of (`CampaignConfig.hide`)."""
    found: dict[str, Any] | None = None
    """Detail of an earlier answer that holds the crystal's relaxed atoms, where there is one."""


class Arranged(NamedTuple):
    """A task's atoms before they are relaxed."""

    structures: "list[Structure]"
    detail: dict[str, Any]
    seconds: float
    """CPU seconds that it took to find them."""


def task_of(
    query: Query,
    references: tuple[str, ...],
    *,
    relax: bool = False,
    known: tuple[str, ...] = (),
    hide: tuple[str, ...] = (),
    found: dict[str, Any] | None = None,
) -> Task:
    """The task that answers a query; for the arguments see `Task`."""
    return Task(
        query.crystal,
        references,
        query.oracle,
        query.structures,
        query.seed,
        relax,
        known,
        hide,
        found,
    )


def evaluate(task: Task, spent: float = 0.0) -> Outcome:
    """Finds the atoms where they aren't known, asks the oracle, and sums its answers up.

    Args:
      task: the question.
      spent: seconds that earlier parts of it have taken.

    Relaxed, a triple of composition, space group and lattice is one crystal, and has one answer.
    Else the value is the mean over the structures that the oracle answered, each clipped to the
    oracle's bounds: the triple stands for many crystals, and
    a cage that ions can't leave (an infinite barrier) must not hide the others.
    """
    from mfal.crystals.structures import standard_setting, structure_to_cif

    start = _cpu_seconds() - spent
    oracle = _oracle(task)
    try:
        structures, detail = _atoms(task)
    except MfalError as error:
        return _failed(str(error), start, {})
    if not structures:
        return _failed(_reason(detail), start, detail)
    structures = [standard_setting(each) for each in structures]  # as `mfal score` asks
    observations = ask_oracle(oracle, structures)
    detail["answers"] = [number_or_text(each.value) for each in observations]
    detail["statuses"] = [each.status for each in observations]
    detail["oracle_seconds"] = sum(each.seconds for each in observations)
    good = [i for i, each in enumerate(observations) if each.ok]
    if not good:
        return _failed(observations[0].status.removeprefix("failed: "), start, detail)
    values = [float(np.clip(observations[i].value, *oracle.bounds)) for i in good]
    mean = statistics.fmean(values)
    # The structure nearest to the mean stands for the triple; the first of equals.
    typical = good[min(range(len(good)), key=lambda k: abs(values[k] - mean))]
    detail["typical"] = typical
    detail["provenance"] = _plain(observations[typical].provenance)
    detail["uncertainty"] = observations[typical].uncertainty
    if task.crystal.proposed:
        detail["cif"] = structure_to_cif(structures[typical])
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Outcome(mean, spread, "ok", _cpu_seconds() - start, detail)


def arrange(task: Task) -> Arranged | Outcome:
    """The first part of a task whose crystal is to be relaxed: its atoms, or its end."""
    from mfal.campaign.workers import atoms

    start = _cpu_seconds()
    try:
        structures, detail = atoms.starting_atoms(
            task.crystal, seed=task.seed, count=task.structures, hide=task.hide
        )
    except MfalError as error:
        return _failed(str(error), start, {})
    if not structures:
        return _failed(_reason(detail), start, detail)
    return Arranged(structures, detail, _cpu_seconds() - start)


def relax_together(crystals: "list[list[Structure]]") -> "list[tuple[LowestFound, float]]":
    """The lowest arrangement of each task's, and the seconds that fall to it."""
    from mfal.oracles.stability.arrangements import lowest_arrangements

    clock = _device_clock()
    start = clock()
    found = lowest_arrangements(crystals)
    shares = _shared(clock() - start, [each.work for each in found])
    return list(zip(found, shares, strict=True))


def settle(
    task: Task, arranged: Arranged, lowest: "LowestFound", seconds: float
) -> tuple[Task, float] | Outcome:
    """The part after a crystal was relaxed elsewhere: the task with its atoms, or its end.

    Args:
      task: the task.
      arranged: its first part.
      lowest: the lowest of its arrangements.
      seconds: that finding this took.

    Returns:
      With the task the seconds that it has taken so far.
    """
    from mfal.campaign.workers import atoms

    start = _cpu_seconds() - arranged.seconds - seconds
    if lowest.found is None:
        detail = arranged.detail | {"reason": lowest.refusal}
        if task.crystal.pool_name is not None:
            detail["pool"] = task.crystal.source
        return _failed(_reason(detail), start, detail)
    relaxed = atoms.relaxed_detail(task.crystal, lowest.found, task.known, task.hide)
    return task._replace(found=arranged.detail | relaxed), _cpu_seconds() - start


def has_preparation(task: Task) -> bool:
    """Whether a device can work for the task's oracle (`Oracle.beforehand`)."""
    oracles = load_oracles(task.references, task.hide)
    return any(each.name == task.oracle and each.beforehand is not None for each in oracles)


def prepare_together(tasks: list[Task]) -> list[float]:
    """What a device can do for the tasks' oracles, done; and the seconds that fall to each task."""
    from mfal.crystals.structures import standard_setting

    clock = _device_clock()
    start = clock()
    groups: dict[Any, list[tuple[int, tuple[Structure, Any]]]] = {}
    for number, task in enumerate(tasks):
        wanted = _oracle(task).beforehand
        assert wanted is not None
        try:
            structures = [standard_setting(each) for each in _atoms(task)[0]]
        except MfalError:  # which the evaluation will say
            continue
        asked = [(number, (each, wanted.terms)) for each in structures]
        groups.setdefault(wanted.together, []).extend(asked)
    work = [0.0] * len(tasks)
    for together, group in groups.items():
        for (number, _), share in zip(group, together([one for _, one in group]), strict=True):
            work[number] += share
    return _shared(clock() - start, work)


def _device_clock() -> Callable[[], float]:
    """Seconds of the CPU where that computes, else of the clock: the device is its own."""
    import jax

    return _cpu_seconds if jax.default_backend() == "cpu" else time.perf_counter


def _shared(seconds: float, work: list[float]) -> list[float]:
    """Seconds that fall to each by the work that it was."""
    whole = sum(work)
    return [seconds * (each / whole if whole else 1 / len(work)) for each in work]


def _oracle(task: Task) -> "Oracle":
    oracles = load_oracles(task.references, task.hide)
    return next(each for each in oracles if each.name == task.oracle)


def _atoms(task: Task) -> "tuple[list[Structure], dict[str, Any]]":
    from mfal.campaign.workers import atoms

    crystal = task.crystal
    own = None if crystal.structure is None else atoms.own_atoms(crystal)
    if own is not None and not (task.relax and crystal.relaxable):
        unrelaxed = {"unrelaxed": "sites are partly filled"} if task.relax else {}
        structures, detail = [own], unrelaxed if crystal.proposed else {"known": crystal.source}
    elif task.found is not None:
        structures, detail = atoms.stored_atoms(task.found)
    elif not task.relax:
        structures, detail = atoms.realise_record(
            crystal, seed=task.seed, count=task.structures, hide=task.hide
        )
    else:
        structures, detail = atoms.candidate_atoms(
            crystal, seed=task.seed, count=task.structures, known=task.known, hide=task.hide
        )
    if crystal.pool_name is not None:
        detail["pool"] = crystal.source
    if own is not None:
        for structure in structures:
            structure.properties = own.properties  # which tell its name to `lookup_oracle`
    return structures, detail


def _reason(detail: dict[str, Any]) -> str:
    """Why there are no atoms."""
    if "reason" in detail:
        return str(detail["reason"])
    reasons = ", ".join(f"{n} {why}" for why, n in detail.get("rejected", {}).items())
    return "no sound arrangement of atoms was found" + (f" ({reasons})" if reasons else "")


def _failed(why: str, start: float, detail: dict[str, Any]) -> Outcome:
    return Outcome(None, None, f"failed: {why}", _cpu_seconds() - start, detail)


def _cpu_seconds() -> float:
    """Of this process, which does one task at a time, and of the children that it waited for."""
    children = os.times()[2:4]
    return time.process_time() + sum(children)


def _plain(value: Any) -> Any:
    """Provenance as values for JSON; what JSON doesn't know becomes text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    if isinstance(value, float):
        return number_or_text(value)
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
