"""The default oracles for other ions than lithium, each under its symbol: `mfal.oracles.ions:Na`.

Sendek's regression was made for lithium, and the conductivity for ions of one charge; what does not
hold for an ion is left out.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mfal.errors import MfalError

if TYPE_CHECKING:
    from mfal.oracles.types import Oracle

__all__ = ["charge_of_ion", "ion_oracles"]


def charge_of_ion(ion: str) -> int:
    """The charge of a mobile ion in the bond-valence force field, the least that it has rows for.

    Raises:
      MfalError: for what is no ion that the force field has rows for.
    """
    from mfal.crystals.bond_valence import MORSE

    charges = sorted({charge for symbol, charge, _, _ in MORSE if symbol == ion})
    if not charges:
        known = sorted({symbol for symbol, charge, _, _ in MORSE if charge in (1, 2)})
        raise MfalError(f"ion {ion}", f"give one of {', '.join(known)}")
    return charges[0]


def ion_oracles(ion: str) -> "tuple[Oracle, ...]":
    """The migration barrier of an ion and, if it has one charge, its conductivity at 300 K.

    Raises:
      MfalError: for what is no ion that the force field has rows for.
    """
    from mfal.oracles.ladder import MapOptions, bvse_oracle, conductivity_oracle

    charge = charge_of_ion(ion)
    options = MapOptions(mobile=ion, mobile_charge=charge)
    barrier = bvse_oracle(options)
    return (barrier,) if charge != 1 else (barrier, conductivity_oracle(options))


def __getattr__(name: str) -> "Callable[[], tuple[Oracle, ...]]":
    if not (name.isalpha() and name[0].isupper() and len(name) <= 2):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(ion_oracles, name)
