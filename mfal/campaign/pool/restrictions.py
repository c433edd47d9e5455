"""Which crystals may be candidates at all: pools' and generated ones alike, before any cost.

A restriction is a function of composition and space group alone, so that a million rows are
checked at once and a sampler's reward can hold it.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mfal.campaign.config import SpaceConfig
from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.formulas import formula_amounts
from mfal.crystals.procurement import TOXICITY_CLASSES, element_prices
from mfal.crystals.types import NUM_ELEMENTS
from mfal.errors import MfalError

__all__ = [
    "ALWAYS_ANIONS",
    "Pattern",
    "anions",
    "barred_elements",
    "check_restrictions",
    "parse_pattern",
    "restrictions_met",
]

ALWAYS_ANIONS = ("F", "O", "N", "Cl", "Br", "I")
"""Anions in nearly every compound with lithium; a nitrate's N and a perchlorate's Cl count too."""
_CHALCOGENS = ("S", "Se", "Te")
"""Anions where neither F nor O makes cations of them, as in sulfates."""
_ELSE = ("P", "As", "Sb", "C", "Si", "H")
"""Anions where there are no others (Li3P, Li2C2, LiH)."""
_PROPORTION = 1e-3
"""By which atomic fractions may differ from a formula's."""


class Pattern(NamedTuple):
    """A formula, or a chemical system."""

    fractions: tuple[float, ...] | None
    """[103], of a formula; None for a system."""
    named: tuple[int, ...]
    """Z - 1 of the elements of a system."""
    any: int
    """Number of further elements, whatever they are."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Z - 1 of the elements that are named."""
        if self.fractions is None:
            return self.named
        return tuple(i for i, fraction in enumerate(self.fractions) if fraction > 0)


@lru_cache(maxsize=64)
def parse_pattern(text: str) -> Pattern:
    """A formula such as Li3PS4, or a system such as Li-P-S or Li-*-S.

    Raises:
      MfalError: for anything else.
    """
    if "-" in text:
        parts = text.split("-")
        named = [part for part in parts if part != "*"]
        if not all(re.fullmatch("[A-Z][a-z]?", part) for part in named):
            raise MfalError(f"space.formula {text!r}", "write a system as Li-P-S or Li-*-S")
        return Pattern(None, _indices("space.formula", named), parts.count("*"))
    try:
        amounts = formula_amounts(text)
    except MfalError as error:
        raise MfalError(f"space.formula {text!r}: {error.what}", error.remedy) from None
    fractions = np.zeros(NUM_ELEMENTS)
    for symbol, amount in amounts.items():
        fractions[atomic_number(symbol) - 1] = amount / sum(amounts.values())
    return Pattern(tuple(fractions.tolist()), (), 0)


def check_restrictions(space: SpaceConfig) -> None:
    """Raise an error for names that are none, and for restrictions that nothing can meet.

    Raises:
      MfalError: as said.
    """
    for name in ("elements", "must_contain", "banned", "anions"):
        _indices(f"space.{name}", getattr(space, name) or ())
    for text in space.formula:
        parse_pattern(text)
    for group in space.groups or ():
        if not 1 <= group <= 230:
            raise MfalError(f"space.groups {group}", "give numbers from 1 to 230")
    barred = [s for s in space.must_contain if s in barred_elements(space)]
    if space.elements is not None:
        barred += [s for s in space.must_contain if s not in space.elements]
    if barred:
        raise MfalError(
            f"space.must_contain {barred[0]}, which no candidate may hold",
            "allow it, or don't ask for it",
        )


def barred_elements(space: SpaceConfig) -> frozenset[str]:
    """Elements that no candidate may hold: by name, by price, by class of toxicity.

    Raises:
      MfalError: for a class or a price that is none.
    """
    return frozenset(space.banned).union(_dear(space), _toxic(space))


def _dear(space: SpaceConfig) -> tuple[str, ...]:
    if space.max_price is None:
        return ()
    if not space.max_price > 0:
        raise MfalError(f"space.max_price {space.max_price:g}", "give USD a kilogram, above 0")
    prices = element_prices()
    return tuple(s for s in SYMBOLS if s not in prices or prices[s].usd_per_kg > space.max_price)


def _toxic(space: SpaceConfig) -> tuple[str, ...]:
    unknown = [name for name in space.banned_toxicity if name not in TOXICITY_CLASSES]
    if unknown:
        raise MfalError(
            f"space.banned_toxicity {unknown[0]!r} is no class",
            f"give one of {', '.join(TOXICITY_CLASSES)}",
        )
    return tuple(s for name in space.banned_toxicity for s in TOXICITY_CLASSES[name])


def restrictions_met(
    space: SpaceConfig, composition: Any, space_group: Any, xp: Any = np
) -> dict[str, Any]:
    """Whether crystals meet each restriction that is set, by its name.

    Args:
      space: the restrictions.
      composition: [..., 103], atoms in the conventional cell.
      space_group: [...] int, 1 to 230.
      xp: numpy, or jax.numpy where it is traced.

    Returns:
      Arrays [...] of bool; no entry where nothing restricts.
    """
    present = composition > 0
    met: dict[str, Any] = {}
    if space.must_contain:
        needed = np.array(_indices("space.must_contain", space.must_contain))
        met["must_contain"] = present[..., needed].all(-1)
    if space.elements is not None:
        met["elements"] = ~(present & ~_mask("space.elements", space.elements)).any(-1)
    if space.banned:
        met["banned"] = ~(present & _mask("space.banned", space.banned)).any(-1)
    for name, elements in (("max_price", _dear(space)), ("banned_toxicity", _toxic(space))):
        if elements:
            met[name] = ~(present & _mask(f"space.{name}", elements)).any(-1)
    if space.anions:
        met["anions"] = ~(anions(present) & ~_mask("space.anions", space.anions)).any(-1)
    if space.formula:
        fits = [_fits(parse_pattern(text), composition, xp) for text in space.formula]
        met["formula"] = xp.stack(fits).any(0)
    if space.groups:
        listed = np.isin(np.arange(231), space.groups)
        met["groups"] = xp.asarray(listed)[space_group]
    if space.max_atoms is not None:
        met["max_atoms"] = composition.sum(-1) <= space.max_atoms + 1e-3
    return met


def anions(present: Any) -> Any:
    """Which elements are anions, [..., 103] bool, from which are present.

    F, O, N, Cl, Br and I always count; S, Se and Te where there is neither F nor O; P, As, Sb, C,
    Si and H where there is none of these.

    >>> elements = np.isin(np.array(SYMBOLS), ["Li", "P", "S"])
    >>> [SYMBOLS[i] for i in np.flatnonzero(anions(elements))]
    ['S']
    """
    always = present & _mask("", ALWAYS_ANIONS)
    oxidised = (present & _mask("", ("F", "O"))).any(-1)[..., None]
    first = always | (present & _mask("", _CHALCOGENS) & ~oxidised)
    return first | (present & _mask("", _ELSE) & ~first.any(-1)[..., None])


def _fits(pattern: Pattern, composition: Any, xp: Any) -> Any:
    if pattern.fractions is not None:
        total = xp.maximum(composition.sum(-1), 1e-6)[..., None]
        wanted = np.array(pattern.fractions, np.float32)
        return (abs(composition / total - wanted) < _PROPORTION).all(-1)
    present = composition > 0
    named = present[..., np.array(pattern.named, int)].all(-1)
    return named & (present.sum(-1) == len(pattern.named) + pattern.any)


@lru_cache(maxsize=64)
def _mask(option: str, symbols: tuple[str, ...]) -> np.ndarray:
    mask = np.zeros(NUM_ELEMENTS, bool)
    mask[list(_indices(option, symbols))] = True
    return mask


def _indices(option: str, symbols: Any) -> tuple[int, ...]:
    unknown = [symbol for symbol in symbols if symbol not in SYMBOLS]
    if unknown:
        raise MfalError(f"{option} {unknown[0]!r} is no element", "give symbols such as Li or Cl")
    return tuple(SYMBOLS.index(symbol) for symbol in symbols)
