"""Are lithium ions too fast in CHGNet's dynamics? Against published ab initio dynamics.

`tables/published_dynamics.csv` has what was published of conductors whose structure is at hand: a
coefficient of diffusion at a temperature, or an activation energy and the conductivity at 300 K
that the same Arrhenius line gives, which Nernst's and Einstein's relation turns back into a
coefficient at the temperature (with Haven's ratio one, as those papers do, and the density of the
cell simulated here). "Second hand" values were read where others have transcribed the paper's
table. Several papers about one compound count as one, by the mean of the logarithms.

Each crystal is simulated by the `dynamics` oracle at that temperature, for twice the default time:
ten hops in 10 ps are 7e-6 cm²/s in a cell of 24 ions.

Printed are the decades between both, what of them is noise (the error of the hops; papers disagree
as well), and the softening: the factor of all barriers that would explain the ratio r, which is
1 - kT ln(r) / E with the published activation energy E (Deng et al., npj Comput. Mater. 11, 9
(2025), find such potentials too soft). Intervals are 90 %, by bootstrap over compounds.

    python experiments/dynamics_vs_ab_initio.py [--data OBELIX] [--minutes N] [--pieces FILE]

Rows of OBELiX need its folder. Pieces are kept in FILE (default
`experiments/pieces/ab_initio.jsonl`); simulations go on where they were.
"""

import csv
import math
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.constants import elementary_charge, physical_constants
from shared import do_pieces, interval, make_parser, write_record
from transport_vs_experiment import ask

from mfal.data import load_embedded, load_obelix
from mfal.oracles.dynamics import DynamicsOptions, dynamics_oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

PUBLISHED = Path(__file__).parent / "tables" / "published_dynamics.csv"
ION_TIME = 240.0  # ps times mobile ions
BOLTZMANN = physical_constants["Boltzmann constant in eV/K"][0]


def published() -> dict[tuple[str, str, float], list[dict[str, str]]]:
    """The rows of the table by compound, structure and temperature in K."""
    found: dict[tuple[str, str, float], list[dict[str, str]]] = defaultdict(list)
    with PUBLISHED.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["compound"], row["structure"], float(row["temperature_k"])].append(row)
    return dict(found)


def published_diffusion(row: dict[str, str], kelvin: float, density: float) -> float:
    """cm²/s at a temperature, of a row with a coefficient or with energy and conductivity.

    Args:
      row: of the table.
      kelvin: of the wanted coefficient.
      density: lithium ions per Å³.
    """
    if row["diffusion_cm2_per_s"]:
        return float(row["diffusion_cm2_per_s"])
    energy = float(row["activation_energy_ev"])
    conductivity = float(row["conductivity_300k_ms_per_cm"]) * 1e-3  # S/cm
    joule = BOLTZMANN * elementary_charge * 300.0
    at_300 = conductivity * joule / (density * 1e24 * elementary_charge**2)
    return at_300 * math.exp(energy / BOLTZMANN * (1 / 300.0 - 1 / kelvin))


def structures(folder: Path | None) -> "dict[str, Structure]":
    """Crystals by the names of their tables."""
    tables = [load_embedded(), *([load_obelix(folder)] if folder else [])]
    return {
        name: structure
        for table in tables
        for name, structure in zip(table.ids, table.structures(), strict=True)
        if structure is not None
    }


def lithium_density(structure: "Structure") -> float:
    """Lithium ions per Å³, as given: relaxation changes it by some percent."""
    return structure.composition.element_composition["Li"] / structure.volume


def compare(
    known: "dict[str, Structure]", pieces: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Print a line for each compound that has been simulated, and return them."""
    lines = []
    print(
        f"{'compound':14}{'K':>6}{'published':>11}{'here':>11}{'decades':>9}{'error':>7}{'hops':>7}"
    )
    for (compound, structure, kelvin), rows in published().items():
        piece = pieces.get(f"{structure} {kelvin:g}")
        if piece is None or structure not in known:
            continue
        values = [published_diffusion(r, kelvin, lithium_density(known[structure])) for r in rows]
        middle = float(np.exp(np.mean(np.log(values))))
        energies = [float(r["activation_energy_ev"]) for r in rows if r["activation_energy_ev"]]
        (run,) = piece.get("simulated") or [{"state": piece["status"]}]
        line: dict[str, Any] = {
            "compound": compound,
            "temperature": kelvin,
            "published": values,
            "state": run["state"],
            "activation_energy": float(np.mean(energies)) if energies else None,
        }
        if run["state"] == "diffusing":
            here = run["diffusion_cm2_per_s"]
            line |= {
                "here": here,
                "decades": math.log10(here / middle),
                "error": run["relative_error"] / math.log(10),
            }
            said = f"{here:11.2g}{line['decades']:9.2f}{line['error']:7.2f}"
        elif "bound_cm2_per_s" in run:
            line["bound"] = run["bound_cm2_per_s"]
            said = f" < {run['bound_cm2_per_s']:8.2g}{'':16}"
        else:
            said = f" {run['state']:26}"
        hops = run.get("hops_of_displacement", 0)
        print(f"{compound:14}{kelvin:6g}{middle:11.2g}{said}{hops:7.1f}")
        lines.append(line)
    return lines


def summarise(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Print and return the mean ratio, its scatter, and the softening."""
    known = [line for line in lines if "decades" in line]
    if len(known) < 3:
        print(f"{len(known)} compounds with a coefficient are too few to compare")
        return {"compounds": len(known)}
    decades = np.array([line["decades"] for line in known])
    errors = np.array([line["error"] for line in known])
    mean = interval(decades.tolist())
    papers = [np.ptp(np.log10(line["published"])) for line in known if len(line["published"]) > 1]
    softened = []
    for line in known:
        if line["activation_energy"]:
            lower = BOLTZMANN * line["temperature"] * math.log(10) * line["decades"]
            softened.append(1 - lower / line["activation_energy"])
    soft = interval(softened)
    scatter = float(np.std(decades, ddof=1))
    print(
        f"{len(known)} compounds: here faster by {mean} decades, standard deviation {scatter:.2f}; "
        f"hops alone give {np.sqrt(np.mean(errors**2)):.2f}, papers about one compound lie "
        f"{np.mean(papers) if papers else math.nan:.2f} apart\n"
        f"factor of the barriers that would explain it, {len(softened)} compounds: {soft}"
    )
    return {
        "compounds": len(known),
        "decades": mean._asdict(),
        "deviation": scatter,
        "softening": soft._asdict(),
    }


def main() -> None:
    """Simulate what is missing, then compare."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=Path, help="folder of OBELiX")
    parser.add_argument(
        "--pieces", type=Path, default=Path(__file__).parent / "pieces" / "ab_initio.jsonl"
    )
    options = parser.parse_args()
    start = time.time()
    known = structures(options.data)
    tasks = {}
    for compound, structure, kelvin in published():
        if structure not in known:
            print(f"{compound}: {structure} is a row of OBELiX, give its folder by --data")
            continue
        oracle = dynamics_oracle(DynamicsOptions(temperatures=(kelvin,), ion_time=ION_TIME))
        tasks[f"{structure} {kelvin:g}"] = partial(ask, oracle, known[structure])
    pieces = do_pieces(options.pieces, tasks, options.minutes)
    lines = compare(known, pieces)
    found = {"compounds": lines, "summary": summarise(lines)}
    write_record(options.out / "dynamics_vs_ab_initio.json", found, options, time.time() - start)


if __name__ == "__main__":
    main()
