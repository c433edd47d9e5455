"""Ordered frameworks drawn from partly occupied ones."""

from typing import TYPE_CHECKING

import numpy as np

from mfal.oracles.bond_valence.framework import site_charges

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["TOO_CLOSE", "sample_decoration"]

TOO_CLOSE = 1.0
"""Å; two framework ions nearer than this are halves of a split site and never there together."""


def sample_decoration(structure: "Structure", seed: int, mobile: str = "Li") -> "Structure":
    """The same crystal with each framework site either filled by one species or empty.

    Sites with the same species and occupancies share whole numbers of each, as near to the
    occupancies as the cell allows, at random places; a place too close to a framework ion that is
    already there is passed over. Sites of the mobile ion are left as they are: they are no part of
    the framework.

    Args:
      structure: partly occupied; its species need not carry charges, those of the result do.
      seed: of the draw.
      mobile: symbol of the mobile element.
    """
    from pymatgen.core import PeriodicSite, Species, Structure

    charges, _ = site_charges(structure)
    rng = np.random.default_rng(seed)
    groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
    sites = []
    for k, site in enumerate(structure):
        ions = {
            Species(specie.symbol, charges[k][specie.symbol]): float(amount)
            for specie, amount in site.species.items()
        }
        lithium = {ion: amount for ion, amount in ions.items() if ion.symbol == mobile}
        if lithium:
            sites.append(PeriodicSite(lithium, site.frac_coords, structure.lattice))
        rest = {ion: amount for ion, amount in ions.items() if ion.symbol != mobile}
        if rest:
            key = tuple(sorted((str(ion), round(amount, 4)) for ion, amount in rest.items()))
            groups.setdefault(key, []).append(k)
    placed: list[np.ndarray] = []
    # Fully occupied sites first: they decide which of the others are too close.
    for key in sorted(groups, key=lambda key: -sum(amount for _, amount in key)):
        members = groups[key]
        amounts = np.array([amount for _, amount in key]) * len(members)
        numbers = np.floor(amounts + 1e-6).astype(int)
        # What is left over goes to species at random, in proportion to their remainders.
        numbers += rng.uniform(size=len(numbers)) < amounts - numbers
        species = np.repeat([name for name, _ in key], numbers)[: len(members)]
        waiting = list(rng.permutation(species))
        for k in rng.permutation(members):
            if not waiting:
                break
            place = structure[int(k)].frac_coords
            if sum(amount for _, amount in key) < 0.999 and placed:
                distance = structure.lattice.get_all_distances([place], np.array(placed))
                if distance.min() < TOO_CLOSE:
                    continue
            placed.append(place)
            sites.append(PeriodicSite(waiting.pop(), place, structure.lattice))
    return Structure.from_sites(sites)
