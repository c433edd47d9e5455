"""One query, answered: what a worker runs.

A task is plain data and an answer is plain data, so any executor can carry them. Nothing here
knows of the ledger.
"""

import importlib
import json
import math
import os
import statistics
import sys
import time
import traceback
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.campaign.records import CrystalRecord, Outcome, Query
from mfal.errors import MfalError
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Task", "ask", "evaluate", "import_reference", "load_oracles", "make", "task_of"]


class Task(NamedTuple):
    """All that a worker must know."""

    crystal: CrystalRecord
    references: tuple[str, ...]
    """Where the oracles come from, each as module:function."""
    oracle: str
    """Name of the one to ask."""
    structures: int
    """Atom arrangements wanted."""
    seed: int


def task_of(query: Query, references: tuple[str, ...]) -> Task:
    """The task that answers a query."""
    return Task(query.crystal, references, query.oracle, query.structures, query.seed)


@lru_cache(maxsize=8)
def load_oracles(references: tuple[str, ...]) -> tuple[Oracle, ...]:
    """The oracles behind module:function references, by rising fidelity.

    Their fidelities say which is to be trusted more; they come back numbered 0, 1, 2, ..., so that
    some of the default oracles, or a single one, make a campaign too.

    Raises:
      MfalError: where a reference leads nowhere, or two oracles have the same fidelity.
    """
    found: list[Oracle] = []
    for reference in references:
        made = make(reference, "oracle")
        # An oracle is a tuple itself.
        iterable = isinstance(made, Iterable) and not isinstance(made, Oracle)
        several = list(made) if iterable else [made]
        if not several or not all(isinstance(each, Oracle) for each in several):
            raise MfalError(
                f"oracle {reference!r} returns {type(made).__name__}",
                "return a mfal.oracles.Oracle, or several",
            )
        found.extend(several)
    found.sort(key=lambda oracle: oracle.fidelity)
    if len({oracle.fidelity for oracle in found}) < len(found):
        levels = ", ".join(f"{oracle.name} {oracle.fidelity}" for oracle in found)
        raise MfalError(
            f"oracles {', '.join(references)}: fidelities {levels}",
            "give each oracle a fidelity of its own, the higher the more it is to be trusted",
        )
    found = [oracle._replace(fidelity=rank) for rank, oracle in enumerate(found)]
    for oracle in found:
        if not (oracle.cost > 0 and math.isfinite(oracle.cost)):
            raise MfalError(f"oracle {oracle.name}: cost {oracle.cost}", "give a positive cost")
    return tuple(found)


def evaluate(task: Task) -> Outcome:
    """Place the atoms where they aren't known, ask the oracle, and sum its answers up.

    The value is the mean over the structures that the oracle answered, each clipped to the
    oracle's bounds: a triple of composition, space group and lattice stands for many crystals, and
    a cage that ions can't leave (an infinite barrier) must not hide the others.
    """
    start = time.perf_counter()
    oracle = next(each for each in load_oracles(task.references) if each.name == task.oracle)
    try:
        structures, detail = _atoms(task)
    except MfalError as error:
        return _failed(str(error), start, {})
    if not structures:
        reasons = ", ".join(f"{n} {why}" for why, n in detail.get("rejected", {}).items())
        return _failed(
            "no sound arrangement of atoms was found" + (f" ({reasons})" if reasons else ""),
            start,
            detail,
        )
    observations = ask(oracle, structures)
    detail["answers"] = [_number(each.value) for each in observations]
    detail["statuses"] = [each.status for each in observations]
    detail["oracle_seconds"] = sum(each.seconds for each in observations)
    good = [i for i, each in enumerate(observations) if each.ok]
    if not good:
        return _failed(observations[0].status.removeprefix("failed: "), start, detail)
    values = [float(np.clip(observations[i].value, *oracle.bounds)) for i in good]
    mean = statistics.fmean(values)
    # The structure nearest to the mean stands for the triple; the first of equals.
    typical = good[min(range(len(good)), key=lambda k: abs(values[k] - mean))]
    detail["provenance"] = _plain(observations[typical].provenance)
    detail["uncertainty"] = observations[typical].uncertainty
    if task.crystal.structure is None:
        from mfal.crystals.structures import structure_to_cif

        detail["cif"] = structure_to_cif(structures[typical])
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Outcome(mean, spread, "ok", time.perf_counter() - start, detail)


def _atoms(task: Task) -> "tuple[list[Structure], dict[str, Any]]":
    from pymatgen.core import Structure

    crystal = task.crystal
    if crystal.structure is not None:
        return [Structure.from_dict(json.loads(crystal.structure))], {"known": crystal.source}
    from mfal.campaign.realising import realise_record

    return realise_record(crystal, seed=task.seed, count=task.structures)


def ask(oracle: Oracle, structures: "list[Structure]") -> list[Observation]:
    """The oracle's answers; an oracle that breaks its promise not to raise has failed."""
    try:
        observations = list(oracle.evaluate(structures))
    except Exception as error:
        what = f"failed: oracle {oracle.name} raised {type(error).__name__}: {error}"
        return [Observation(math.nan, None, what, 0.0, {}) for _ in structures]
    if len(observations) != len(structures):
        what = f"failed: oracle {oracle.name} gave {len(observations)} answers"
        return [Observation(math.nan, None, what, 0.0, {}) for _ in structures]
    return [
        each._replace(status=f"failed: oracle {oracle.name} returned NaN")
        if each.status == "ok" and math.isnan(each.value)
        else each
        for each in observations
    ]


def _failed(why: str, start: float, detail: dict[str, Any]) -> Outcome:
    return Outcome(None, None, f"failed: {why}", time.perf_counter() - start, detail)


def _number(value: float) -> float | str | None:
    """JSON has no infinities: they go as text, NaN as null."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _plain(value: Any) -> Any:
    """Provenance as JSON; what JSON doesn't know becomes text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    if isinstance(value, float):
        return _number(value)
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def import_reference(reference: str, what: str) -> Any:
    """The function behind module:function; `what` says in errors what it was to make.

    Modules of the working folder count, if no other has the name.

    Raises:
      MfalError: where it leads nowhere.
    """
    module, separator, name = reference.partition(":")
    remedy = "give an importable module:function"
    if not separator:
        raise MfalError(f"{what} {reference!r}", remedy)
    try:
        return getattr(_import(module), name)
    except (ImportError, AttributeError) as error:
        raise MfalError(f"{what} {reference!r}: {error}", remedy) from error
    except Exception as error:  # it is the user's program
        raise MfalError(f"{what} {reference!r}: {_describe(error)}", "mend the module") from error


def make(reference: str, what: str, *arguments: Any) -> Any:
    """What the function behind module:function returns.

    Raises:
      MfalError: where it leads nowhere, or the function fails.
    """
    function = import_reference(reference, what)
    if not callable(function):
        raise MfalError(f"{what} {reference!r} is no function", "give a module:function")
    try:
        return function(*arguments)
    except MfalError:
        raise
    except Exception as error:  # it is the user's program
        raise MfalError(f"{what} {reference!r}: {_describe(error)}", "mend the function") from error


def _describe(error: Exception) -> str:
    """Kind, message and place of an error in a program that isn't ours."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"


def _import(module: str) -> Any:
    """The module; one that is nowhere else is looked for in the working folder.

    An installed command's own path leaves that folder out, and it is where users keep theirs. It
    comes last and only where it has the module, so that no file in it stands in for another.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        here = os.getcwd()
        if error.name != module.partition(".")[0] or {"", here} & set(sys.path):
            raise
        sys.path.append(here)
        importlib.invalidate_caches()
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as again:
            if again.name == error.name:
                sys.path.remove(here)
            raise
