"""Does the energy of one lithium ion, scanned by CHGNet, tell more than barrier and regression?

The rows are the ordered ones of `transport_vs_experiment.py`, by the rule written there, by rising
number of atoms. For each the lithium is taken out, the rest held where it is (positions made
symmetric to .3 Å, as OBELiX' carry a noise), and one lithium ion put on every point of a grid of
.55 Å over the asymmetric unit, in a supercell of which no width falls short of 5 Å. Points closer
than 1.2 Å to another atom count as walls. The energies are percolated as those of bond valence are
(`mfal.oracles.bond_valence.percolation`): the barrier at which paths close in 3, 2 and 1 dimension.
After Maevskiy et al., arXiv:2411.06804 (2024), who did so with M3GNet.

Printed: Spearman's rho with log10 of the measured conductivity and the area under the ROC curve at
1e-4 S/cm, of the map, the bond-valence barrier and Sendek's regression on the same rows; then rho
of a ridge regression in cross-validation, whole papers held out, from barrier and regression, and
from these and the map. Intervals are 90 %, by bootstrap over papers.

    python experiments/lithium_map.py --data OBELIX [--minutes N] [--pieces FILE]

Pieces are kept in FILE (default `experiments/pieces/lithium_map.jsonl`); the same command does the
rest.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from ranking import auc, bootstrap, cross_validated, folds
from scipy.stats import spearmanr
from shared import do_pieces, make_parser, write_record
from transport_vs_experiment import CHEAP, FAST, Row, ask, chosen, score

from mfal.errors import MfalError
from mfal.oracles.bond_valence.framework import framework_of
from mfal.oracles.bond_valence.percolation import percolate
from mfal.oracles.bond_valence.symmetry import symmetric_grid
from mfal.oracles.dynamics import smallest_supercell
from mfal.potentials import chgnet_potential
from mfal.potentials.neighbours import sizes_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

RESOLUTION = 0.55  # Å
NOISE = 0.3  # Å
WIDTH = 5.0  # Å
NEAREST = 1.2  # Å
WALL = 20.0  # eV
BATCH = 32  # points in one dispatch
COMPARED = ("sendek", "bvse")
SEEDS = 10  # foldings, of which the predictions' mean is judged


def ideal(structure: "Structure") -> "Structure":
    """Its standard cell, with the positions of the space group that it has to `NOISE`."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    bare = structure.copy().remove_oxidation_states()
    for symprec in (NOISE, 0.1, 0.03, 0.01):
        try:
            found = SpacegroupAnalyzer(bare, symprec=symprec).get_primitive_standard_structure()
        except Exception:  # spglib finds none at this precision
            continue
        if found is not None and found.is_valid(0.5):
            return found
    return bare


def lithium_map(structure: "Structure") -> dict[str, Any]:
    """Barriers in 1, 2 and 3 dimensions, eV, and what they took."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = ideal(structure)
        framework = framework_of(cell)
    grid = symmetric_grid(framework, RESOLUTION)
    chosen_points = np.flatnonzero(grid.representative == np.arange(len(grid.representative)))
    index = np.stack(np.unravel_index(chosen_points, grid.shape), axis=-1)
    points = index / np.asarray(grid.shape) @ cell.lattice.matrix
    frame = cell.copy()
    frame.remove_species(["Li"])
    frame.make_supercell(smallest_supercell(cell.lattice.matrix, WIDTH))
    energy = np.full(len(points), WALL)
    near = frame.lattice.get_all_distances(
        frame.lattice.get_fractional_coords(points), frame.frac_coords
    ).min(axis=1)
    free = np.flatnonzero(near >= NEAREST)
    energy[free] = energies(frame, points[free])
    energy = np.minimum(energy - energy[free].min(), WALL)
    found = percolate(
        energy[np.searchsorted(chosen_points, grid.representative)].reshape(grid.shape)
    )
    return {
        "status": "ok",
        "barriers": [round(float(x), 4) for x in found.barrier],
        "points": len(free),
        "atoms": len(frame) + 1,
        "order": grid.order,
        "cpu": round(time.process_time() - start, 1),
    }


@cache
def program() -> tuple[Any, Callable[..., jax.Array]]:
    """CHGNet, and its energies of a batch."""
    potential = chgnet_potential()
    return potential, jax.jit(jax.vmap(potential.energy, in_axes=(None, 0, None, None, 0)))


def energies(frame: "Structure", points: np.ndarray) -> np.ndarray:
    """Energy of the framework with one lithium ion at each point [N, 3] Å; [N] eV."""
    potential, energy = program()
    species = jnp.asarray([*frame.atomic_numbers, 3], jnp.int32)
    cell = np.asarray(frame.lattice.matrix)
    kept: list[np.ndarray] = []
    sizes = None
    for first in range(0, len(points), BATCH):
        some = points[first : first + BATCH]
        full = np.concatenate([some, np.repeat(some[-1:], BATCH - len(some), axis=0)])
        places = np.concatenate([np.tile(frame.cart_coords, (BATCH, 1, 1)), full[:, None]], axis=1)
        cells = np.tile(cell, (BATCH, 1, 1))
        tables = potential.neighbours(places, cells, np.tile(species, (BATCH, 1)), sizes=sizes)
        sizes = sizes_of(tables)
        found = energy(
            potential.params, jnp.asarray(places, jnp.float32), jnp.asarray(cell, jnp.float32),
            species, tables,
        )  # fmt: skip
        kept.append(np.asarray(found)[: len(some)])
    return np.concatenate(kept).astype(float)


def tried(structure: "Structure") -> dict[str, Any]:
    """The map's answer as a piece, or why there is none."""
    try:
        return lithium_map(structure)
    except (MfalError, ValueError) as error:
        return {"status": str(error)}


def report(rows: list[Row], pieces: dict[str, Any]) -> dict[str, Any]:
    """Compare on the rows that all have answered about."""
    scores: dict[str, list[float]] = {name: [] for name in (*COMPARED, "3-D", "2-D", "1-D")}
    kept, seconds = [], []
    for row in rows:
        piece = pieces.get(f"{row.name} map", {})
        others = {name: pieces.get(f"{row.name} {name}") for name in COMPARED}
        if piece.get("status") != "ok" or not all(others.values()):
            continue
        kept.append(row)
        seconds.append(piece["cpu"])
        for name, one in others.items():
            scores[name].append(score(name, one))  # type: ignore[arg-type]
        for name, barrier in zip(("1-D", "2-D", "3-D"), piece["barriers"], strict=True):
            scores[name].append(-min(barrier, 5.0))
    columns = {name: np.nan_to_num(np.array(x), nan=np.nanmedian(x)) for name, x in scores.items()}
    target = np.array([row.log10 for row in kept])
    papers = np.array([row.paper for row in kept])
    print(f"{len(kept)} rows of {len(set(papers))} papers, log10 S/cm {target.min():.1f} to"
          f" {target.max():.1f}; a map takes {np.median(seconds):.1f} CPU s")  # fmt: skip
    found: dict[str, Any] = {"rows": len(kept), "cpu_median": float(np.median(seconds))}

    def say(name: str, values: np.ndarray) -> None:
        rho = bootstrap(papers, lambda r: float(spearmanr(values[r], target[r])[0]))
        area = bootstrap(papers, lambda r: auc(values[r], target[r] > FAST))
        found[name] = {"rho": rho, "auc": area}
        text = ", AUC ".join(f"{m:.2f} [{low:.2f}, {high:.2f}]" for m, low, high in (rho, area))
        print(f"{name:24} rho {text}")

    for name, values in columns.items():
        say(name, values)

    def predicted(names: tuple[str, ...]) -> np.ndarray:
        inputs = np.stack([columns[name] for name in names], axis=1)
        each = [cross_validated(inputs, target, folds(papers, seed)) for seed in range(SEEDS)]
        return np.mean(each, axis=0)

    without, with_map = predicted(COMPARED), predicted((*COMPARED, "3-D"))
    say("barrier, regression", without)
    say("and the map", with_map)
    gain = bootstrap(
        papers,
        lambda r: float(spearmanr(with_map[r], target[r])[0] - spearmanr(without[r], target[r])[0]),
    )
    found["gain"] = gain
    print(f"the map adds {gain[0]:+.2f} [{gain[1]:+.2f}, {gain[2]:+.2f}] to rho")
    return found


def main() -> None:
    """Compute what is missing, then compare."""
    parser: argparse.ArgumentParser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder of OBELiX")
    parser.add_argument(
        "--pieces", type=Path, default=Path(__file__).parent / "pieces" / "lithium_map.jsonl"
    )
    options = parser.parse_args()
    start = time.time()
    rows = [row for row in chosen(options.data) if row.structure.is_ordered]
    oracles = {name: CHEAP[name]() for name in COMPARED}
    tasks: dict[str, Callable[[], Any]] = {}
    for row in rows:
        tasks[f"{row.name} map"] = partial(tried, row.structure)
        for name, oracle in oracles.items():
            tasks[f"{row.name} {name}"] = partial(ask, oracle, row.structure)
    pieces = do_pieces(options.pieces, tasks, options.minutes)
    found = report(rows, pieces)
    write_record(options.out / "lithium_map.json", found, options, time.time() - start)


if __name__ == "__main__":
    main()
