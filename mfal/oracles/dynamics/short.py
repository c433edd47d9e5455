"""Dynamics of a given length of crystals at rest, each length under a name: `...short:Li_2400fs`.

A campaign asks this of its finalists, whose atoms it has relaxed. A longer run goes on where a
shorter one of the same crystal ended.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mfal.oracles.dynamics.options import DynamicsOptions

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.dynamics.price import RunPrice
    from mfal.oracles.types import Oracle

__all__ = [
    "PlannedRun",
    "length_of",
    "run_of_length",
    "short_dynamics",
    "short_name",
    "short_options",
]

_NAME = re.compile(r"([A-Z][a-z]?)_([1-9][0-9]*)fs")


class PlannedRun(NamedTuple):
    """A run of a crystal at rest, simulated or not."""

    price: "RunPrice"
    folder: Path
    """Where it is kept, whatever its length."""


def short_options(ion: str, length: float | None = None) -> DynamicsOptions:
    """The protocol for a crystal at rest, of the default length if no ps are given.

    Raises:
      MfalError: for what is no ion that the force field has rows for.
    """
    from mfal.oracles.ions import charge_of_ion

    whole = DynamicsOptions()
    return DynamicsOptions(
        relax=False,
        mobile=ion,
        charge=charge_of_ion(ion),
        length=whole.length if length is None else length,
    )


def short_name(ion: str, length: float) -> str:
    """The name of the oracle that measures so many ps.

    >>> short_name("Li", 2.4)
    'Li_2400fs'
    """
    return f"{ion}_{round(1000 * length)}fs"


def length_of(name: str) -> float:
    """ps, of an oracle's name that `short_name` made.

    >>> length_of("Li_2400fs")
    2.4
    """
    found = _NAME.fullmatch(name)
    assert found is not None
    return int(found[2]) / 1000


def run_of_length(structure: "Structure", ion: str, length: float | None = None) -> PlannedRun:
    """What dynamics of a crystal at rest take, of the default length if no ps are given.

    Raises:
      MfalError: for what can't be simulated, or where the cache folder can't be written.
    """
    from mfal.crystals.structures import standard_setting
    from mfal.oracles.dynamics.cells import simulated_cells
    from mfal.oracles.dynamics.oracle import dynamics_kept_in
    from mfal.oracles.dynamics.price import run_price
    from mfal.oracles.dynamics.store import run_folder
    from mfal.potentials.chgnet import chgnet_potential

    options, potential = short_options(ion, length), chgnet_potential()
    standard = standard_setting(structure)
    cell = simulated_cells(standard, potential, options).cells[0]
    kept = dynamics_kept_in(standard, potential, options)
    kelvin = options.temperatures[0]
    return PlannedRun(run_price(cell, potential, options), run_folder(kept, 0, kelvin))


def short_dynamics(ion: str, length: float) -> "Oracle":
    """`dynamics_oracle` for crystals at rest; `length` is in ps."""
    from mfal.oracles.dynamics.oracle import dynamics_oracle

    return dynamics_oracle(short_options(ion, length))._replace(name=short_name(ion, length))


def __getattr__(name: str) -> "Callable[[], Oracle]":
    found = _NAME.fullmatch(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(short_dynamics, found[1], int(found[2]) / 1000)
