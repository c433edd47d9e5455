"""Why the hop network ranks worse than its own barrier, and what mends it.

The rule, written down before any row was looked at:

- Rows are the structures of OBELiX that have a CIF. Papers (DOIs) that share a material, and all
  rows of such papers, are one unit; a row without a DOI goes by its material.
- A unit is *development* where the first byte of the SHA-256 of its name (the least DOI or material
  of the unit) is even, else *confirmation*.
- Causes are looked for, and a mend is chosen, on development rows alone. Confirmation rows are
  scored by the same script and decide whether the mend is kept: it has to be better there in the
  mean, ordered crystals first.
- An oracle that fails gets its lower bound: it has given no reason to make the compound. Cages and
  insulators are at the bound too. So all scores are compared on the same rows.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["is_development", "units"]


def units(papers: Sequence[str], materials: Sequence[str]) -> list[str]:
    """The unit of each row: the least name among the papers and materials that hang together."""
    names = [paper or material for paper, material in zip(papers, materials, strict=True)]
    label, row = np.unique([*names, *materials], return_inverse=True)
    first, second = row[: len(names)], row[len(names) :]
    links = coo_matrix((np.ones(len(names)), (first, second)), shape=(len(label), len(label)))
    _, part = connected_components(links, directed=False)
    least: dict[int, str] = {}
    for name, number in zip(label, part, strict=True):
        least.setdefault(int(number), str(name))  # labels ascend
    return [least[int(part[k])] for k in first]


def is_development(unit: str) -> bool:
    """Whether rows of a unit may be looked at while a mend is sought."""
    return hashlib.sha256(unit.encode()).digest()[0] % 2 == 0
