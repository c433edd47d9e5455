"""What a spec demands of a crystal, checked one demand at a time.

Slow, and without the look-ahead tables on purpose: the masks must agree with it.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np

from mfal.crystals.elements import SYMBOLS
from mfal.crystals.groups import LATTICE_SYSTEM, WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY
from mfal.crystals.lattice import (
    FREE_PARAMETERS,
    PARAMETER_NAMES,
    TIED_ANGLE,
    TIED_LENGTH,
    cell_factor,
    cell_volume,
    is_consistent,
)
from mfal.crystals.types import Crystal
from mfal.envs.crystal.spec import CrystalSpec, count_bounds, species_list

__all__ = ["holds_counts", "violations"]


def violations(
    spec: CrystalSpec,
    crystal: Crystal,
    oxidation_states: Mapping[str, float],
    *,
    tolerance: float = 1e-3,
) -> list[str]:
    """Everything about an unbatched crystal that a spec forbids; empty if it is valid.

    Args:
      spec: what is demanded.
      crystal: one crystal, its lattice in the conventional setting.
      oxidation_states: mean state of each element that is present.
      tolerance: relative slack of lengths, angles and volumes (float32 sums).
    """
    amounts = np.asarray(crystal.composition, float)
    counts = {SYMBOLS[z]: float(amounts[z]) for z in np.flatnonzero(amounts)}
    if any(n != round(n) for n in counts.values()):
        return ["the composition is not whole (partial occupancy)"]
    whole = {symbol: round(n) for symbol, n in counts.items()}
    group = int(crystal.space_group_number)
    found = _composition(spec, whole, oxidation_states)
    if not 1 <= group <= 230 or (spec.groups is not None and group not in spec.groups):
        return [*found, f"space group {group} is not among the allowed ones"]
    if not holds_counts(group, tuple(whole.values())):
        found.append(f"space group {group} has no Wyckoff positions for these numbers of atoms")
    volumes = {
        s.symbol: s.volume
        for s in species_list(spec)
        if s.state == Fraction(oxidation_states.get(s.symbol, 0)).limit_denominator(99)
    }
    if spec.volume_per_atom is not None:
        volumes = dict.fromkeys(whole, 1.0)
    ions = sum(volumes.get(symbol, np.nan) * n for symbol, n in whole.items())
    lattice = np.asarray(crystal.lattice, float)
    return found + _lattice(spec, lattice, int(LATTICE_SYSTEM[group - 1]), ions, tolerance)


@lru_cache(maxsize=100_000)
def holds_counts(group: int, counts: tuple[int, ...]) -> bool:
    """Whether a space group has Wyckoff positions for elements with these numbers of atoms.

    Plain search: each element in turn takes any set of positions that are still to be had.

    >>> holds_counts(225, (4, 4)), holds_counts(225, (4, 4, 4)), holds_counts(225, (6,))
    (True, False, False)
    """
    multiplicity, freedom = WYCKOFF_MULTIPLICITY[group - 1], WYCKOFF_FREEDOM[group - 1]
    repeatable = sorted({int(m) for m in multiplicity[freedom > 0]}, reverse=True)
    sizes, copies = np.unique(multiplicity[freedom == 0], return_counts=True)
    single = tuple(int(m) for m in sizes)

    @cache
    def rest_fits(n: int) -> bool:
        return n == 0 or any(m <= n and rest_fits(n - m) for m in repeatable)

    @cache
    def fits(left: tuple[int, ...], available: tuple[int, ...], size: int) -> bool:
        # `left`: atoms still to be placed; the first element decides on single positions by size.
        if not left:
            return True
        if size == len(single):
            return rest_fits(left[0]) and fits(left[1:], available, 0)
        for used in range(min(available[size], left[0] // single[size]) + 1):
            remaining = (left[0] - used * single[size], *left[1:])
            rest = (*available[:size], available[size] - used, *available[size + 1 :])
            if fits(remaining, rest, size + 1):
                return True
        return False

    return fits(tuple(sorted(counts)), tuple(int(c) for c in copies), 0)


def _composition(
    spec: CrystalSpec, counts: Mapping[str, int], oxidation_states: Mapping[str, float]
) -> list[str]:
    found = []
    listed: dict[str, list[tuple[Fraction, int]]] = {}
    for s in species_list(spec):
        listed.setdefault(s.symbol, []).append((s.state, s.repeat))
    atoms, charge = sum(counts.values()), Fraction(0)
    for symbol, n in counts.items():
        if symbol not in listed:
            found.append(f"{symbol} is not among the elements")
            continue
        state = Fraction(oxidation_states.get(symbol, 0)).limit_denominator(99)
        charge += state * n
        if not any(state == q and n % repeat == 0 for q, repeat in listed[symbol]):
            found.append(f"{n} atoms of {symbol} can't have the mean oxidation state {state}")
        low, high = count_bounds(spec, symbol, atoms)
        if not low <= n <= high:
            found.append(f"{n} atoms of {symbol} are not between {low} and {high}")
    if charge != 0:
        found.append(f"the charge is {charge}")
    if missing := [symbol for symbol in spec.required if symbol not in counts]:
        found.append(f"{', '.join(missing)} is missing")
    if not spec.min_atoms <= atoms <= spec.max_atoms:
        found.append(f"{atoms} atoms are not between {spec.min_atoms} and {spec.max_atoms}")
    least, most = spec.element_limits
    if not least <= len(counts) <= most:
        found.append(f"{len(counts)} elements are not between {least} and {most}")
    return found


def _lattice(
    spec: CrystalSpec, lattice: np.ndarray, system: int, ions: float, tolerance: float
) -> list[str]:
    if not np.isfinite(lattice).all() or not is_consistent(lattice):
        return ["the lattice parameters don't close a cell"]
    found = []
    fixed = TIED_ANGLE[system]
    tied = np.concatenate([lattice[TIED_LENGTH[system]], np.where(np.isnan(fixed), 0, fixed)])
    for i, name in enumerate(PARAMETER_NAMES):
        if not FREE_PARAMETERS[system, i] and abs(lattice[i] - tied[i]) > tolerance * tied[i]:
            found.append(
                f"{name} = {lattice[i]:.4f} breaks the symmetry, which wants {tied[i]:.4f}"
            )
        low, high = (
            (spec.min_length, spec.max_length) if i < 3 else (spec.min_angle, spec.max_angle)
        )
        if not low * (1 - tolerance) <= lattice[i] <= high * (1 + tolerance):
            found.append(f"{name} = {lattice[i]:.4f} is not between {low} and {high}")
    if lattice[:3].max() > lattice[:3].min() * spec.max_aspect * (1 + tolerance):
        found.append(f"the longest length is over {spec.max_aspect} times the shortest")
    if cell_factor(lattice) < spec.min_cell_factor * (1 - tolerance):
        found.append(f"the cell is flatter than {spec.min_cell_factor} of a b c")
    volume = float(cell_volume(lattice))
    low, high = (share * ions for share in spec.volume_per_atom or spec.packing)
    if not low * (1 - tolerance) <= volume <= high * (1 + tolerance):
        found.append(f"a volume of {volume:.2f} Å^3 is not between {low:.2f} and {high:.2f}")
    return found
