"""Build `thermochemistry.csv` from public compilations of measured values.

    python experiments/tables/thermochemistry.py [FOLDER]

Downloads the packages below into FOLDER (a temporary one unless given), reads the tables inside
them without installing anything, and keeps single values as cited facts. The one quantity kept is
the standard Gibbs energy of formation at 298.15 K in kJ per mole of the reduced formula:

- tabulated (FREED, NIST-JANAF: the 300 K column carried to 298.15 K with the slope to 400 K; CRC);
- from a tabulated enthalpy and tabulated entropies, G = H - T (S - sum of S of the elements);
- from a tabulated enthalpy and an entropy estimated from the molar volume by the relation of
  Jenkins and Glasser, which prints its own error here;
- for alloys of lithium, which no compilation holds, from measured plateau voltages.

Where sources disagree by more than TOLERANCE the value that two of them share is taken, and if no
two agree the compound is dropped. Compounds that lie more than KEEP_ABOVE_HULL over the hull of the
others (mostly radicals of the gas phase) are dropped, and so are ternary compounds more than
WILDEST_REACTION under it, which are misprints. `thermochemistry_rejected.csv` lists all of these.
"""

import csv
import gzip
import io
import json
import math
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Element

TABLES = Path(__file__).parents[2] / "mfal" / "oracles" / "stability" / "tables"
PACKAGES = ("reaction-network==8.3.0", "reaction-network==4.0.0", "chemicals==1.5.2")

ROOM = 298.15
KJ_PER_EV = 96.48533212
"""Faraday constant in kJ/(mol V), CODATA 2018 (exact)."""
TOLERANCE = 0.05
"""eV per atom, between two sources."""
KEEP_ABOVE_HULL = 0.05
WILDEST_REACTION = 1.0
"""eV per atom gained from the other compounds; Cs2SO4 from Cs2O and SO3 gains 0.95."""

ELEMENTS = frozenset(
    symbol
    for group in (
        "H Li Na K Rb Cs Mg Ca Sr Ba",
        "Sc Y La Ce Nd Sm Gd Dy Ho Er Yb Ti Zr Hf V Nb Ta Cr Mo W Mn Fe Co Ni Cu Ag Zn Cd",
        "B Al Ga In C Si Ge Sn N P As Sb Bi O S Se Te F Cl Br I",
    )
    for symbol in group.split()
)
HALOGENS = frozenset({"F", "Cl", "Br", "I"})
LARGEST_SUBSCRIPT = 30
"""Larger ones are mixtures (air is listed as N79O21)."""

CITATIONS = {
    "FREED": "A. E. Morris, FREED thermodynamic database (2019), after bulletins of the "
    "US Bureau of Mines",
    "JANAF": "M. W. Chase, NIST-JANAF Thermochemical Tables, 4th ed., J. Phys. Chem. Ref. Data "
    "Monograph 9 (1998)",
    "CRC": "CRC Handbook of Chemistry and Physics, 95th ed. (2014), section 5",
    "Barin": "I. Barin, Thermochemical Data of Pure Substances, 3rd ed. (1995), "
    "doi:10.1002/9783527619825",
    "Huggins": "R. A. Huggins, Handbook of Battery Materials, 2nd ed. (2011), "
    "chapter 14, table 14.1",
    "Wen": "C. J. Wen et al., J. Electrochem. Soc. 126, 2258 (1979)",
    "NBS": "D. D. Wagman et al., J. Phys. Chem. Ref. Data 11, supplement 2 (1982)",
    "Glasser": "H. D. B. Jenkins and L. Glasser, Inorg. Chem. 42, 8702 (2003), "
    "doi:10.1021/ic030219p",
}
PREFERENCE = ("JANAF", "CRC", "FREED", "CRC+S", "CRC+V", "Barin")
BARIN_KEPT = ("Li2Se", "Li2Te", "Li4SiO4", "Li2ZrO3", "Li3AsO4", "AlP", "GeP")
"""Read by optical character recognition and often of the gas phase, so Barin's values count on
their own only for these. Elsewhere they confirm, or contradict where they are the lower ones (the
higher ones are mostly gases), unless they are lower by more than half, which is a misreading."""
MISREAD = 1.5

GLASSER_SLOPE = 1360.0
"""J/(K mol nm³), entropy of an anhydrous ionic solid against its volume per formula."""
GLASSER_CONSTANT = 15.0
"""J/(K mol)."""

PLATEAUS: dict[str, tuple[tuple[float, float], ...]] = {
    # (y of Li_y M at the plateau's lithium-rich end, volts against lithium)
    "Si": ((2.0, 0.332), (8 / 3, 0.283), (3.25, 0.156), (4.4, 0.047)),
    "Sn": ((1.0, 0.570), (7 / 3, 0.455), (2.5, 0.430), (2.6, 0.387), (3.5, 0.283), (4.4, 0.170)),
    "Sb": ((2.0, 0.910), (3.0, 0.875)),
    "Bi": ((3.0, 0.750),),
    "Ga": ((1.0, 0.565), (1.5, 0.122), (2.0, 0.091)),
    "In": ((1.0, 0.495), (1.5, 0.145), (2.0, 0.145), (2.67, 0.080)),
}
"""Measured near 400 °C. The one slope known (Li-Al, -0.22 mV/K) makes the room temperature voltage
some 0.08 V higher; the values are kept as measured."""
RED_PHOSPHORUS = -12.1
"""kJ/mol over white phosphorus, the reference of all the compilations."""
LITHIUM_ALUMINIUM = 0.451 - 0.220e-3 * ROOM
"""V, plateau between Al and LiAl, E = 451 mV - 0.220 mV/K T."""


class Row(NamedTuple):
    """One source's value for one compound."""

    formula: str
    gibbs: float
    """kJ per mole of the reduced formula."""
    source: str
    note: str = ""

    @property
    def per_atom(self) -> float:
        """EV per atom."""
        return self.gibbs / KJ_PER_EV / Composition(self.formula).num_atoms


def reduced(formula: str) -> tuple[str, float] | None:
    """Reduced formula and how many of it the given one holds, for the compounds in scope."""
    try:
        composition = Composition(formula)
    except (ValueError, KeyError):
        return None
    names = {element.symbol for element in composition.elements if hasattr(element, "symbol")}
    organic = "C" in names and bool(names & ({"H", "N", "S"} | HALOGENS))
    hydrate = "H" in names and len(names) > 3
    if not names <= ELEMENTS or not 1 < len(names) <= 4 or organic or hydrate or "+" in formula:
        return None
    if max(composition.reduced_composition.values()) > LARGEST_SUBSCRIPT:
        return None
    return composition.get_reduced_formula_and_factor()


def formation_tables(table: dict[str, dict[str, float]], source: str) -> Iterator[Row]:
    """Gibbs energies (eV per reduced formula by temperature) carried to room temperature."""
    for formula, by_temperature in table.items():
        key = reduced(formula)
        points = sorted((float(t), g) for t, g in by_temperature.items())
        near = [(t, g) for t, g in points if t >= 298]
        if key is None or len(near) < 1 or near[0][0] > 301:
            continue
        (t0, g0), (t1, g1) = near[0], near[min(1, len(near) - 1)]
        slope = (g1 - g0) / (t1 - t0) if t1 > t0 else 0.0
        yield Row(key[0], (g0 + slope * (ROOM - t0)) * KJ_PER_EV, source)


def crc_rows(wheel: zipfile.ZipFile) -> Iterator[Row]:
    """Gibbs energies of the CRC table, or enthalpies with tabulated or estimated entropies."""
    formulas = dict(identifiers(wheel))
    volumes = {
        row["CAS"]: float(row["Vm"])
        for row in tsv(wheel, "Density/CRC Solid Inorganic Constant Densities.tsv")
    }
    table = list(
        tsv(
            wheel,
            "Heat Capacity/CRC Standard Thermodynamic Properties of Chemical Substances.tsv",
        )
    )
    entropies = _element_entropies(table, formulas)
    errors = []
    for row in table:
        key = reduced(formulas.get(row["CAS"], ""))
        if key is None:
            continue
        formula, count = key
        gibbs = [float(row[column]) for column in ("Gfs", "Gfl", "Gfg") if row[column]]
        if gibbs:
            yield Row(formula, min(gibbs) / 1000 / count, "CRC", row["Chemical"])
        if not row["Hfs"]:
            continue
        of_elements = sum(
            entropies.get(element.symbol, math.nan) * amount
            for element, amount in Composition(formula).items()
        )
        enthalpy = float(row["Hfs"]) / 1000 / count
        measured = float(row["S0s"]) / count if row["S0s"] else math.nan
        volume = volumes.get(row["CAS"], math.nan) / count / 6.02214076e23 * 1e27
        estimated = GLASSER_SLOPE * volume + GLASSER_CONSTANT
        if not math.isnan(measured + estimated):
            errors.append(ROOM * (measured - estimated) / 1000)
        entropy, source = (measured, "CRC+S") if row["S0s"] else (estimated, "CRC+V")
        value = enthalpy - ROOM * (entropy - of_elements) / 1000
        if not math.isnan(value) and "H" not in Composition(formula).as_dict():
            yield Row(formula, value, source, row["Chemical"])
    print(
        f"entropy from volume: median error {np.median(np.abs(errors)):.1f} kJ/mol, nine in ten "
        f"within {np.quantile(np.abs(errors), 0.9):.1f} kJ/mol, over {len(errors)} compounds"
    )


def alloy_rows() -> Iterator[Row]:
    """Alloys by integrating the voltage over the lithium taken up: G = -F sum of E dy."""
    yield Row("LiAl", -KJ_PER_EV * LITHIUM_ALUMINIUM, "Wen", "plateau voltage at 298.15 K")
    for host, steps in PLATEAUS.items():
        done, energy = 0.0, 0.0
        for end, voltage in steps:
            energy -= voltage * (end - done)
            done = end
            amount = _smallest_multiple(end)
            formula = Composition({"Li": round(end * amount), host: amount}).reduced_formula
            yield Row(
                formula,
                energy * amount * KJ_PER_EV,
                "Huggins",
                "plateau voltages near 673 K",
            )


def settle(rows: list[Row]) -> tuple[Row | None, str]:
    """The value of one compound among its sources, or why there is none."""
    ranked = sorted(rows, key=lambda row: PREFERENCE.index(row.source))
    usable = [row for row in ranked if row.source != "Barin" or row.formula in BARIN_KEPT]
    if not usable:
        return None, "only in a source read by character recognition"
    for row in usable:
        supporters = [
            other
            for other in ranked
            if other.source.split("+")[0] != row.source.split("+")[0]
            and abs(other.per_atom - row.per_atom) <= TOLERANCE
        ]
        if supporters:
            return row, ""
    best = usable[0]
    others = {
        row.source.split("+")[0]
        for row in ranked
        if row is best or row.source != "Barin" or MISREAD * best.gibbs < row.gibbs < best.gibbs
    }
    if others == {best.source.split("+")[0]}:
        return usable[0], ""
    return None, "sources disagree: " + ", ".join(f"{r.source} {r.gibbs:.1f}" for r in ranked)


def against_hull(rows: dict[str, Row]) -> tuple[dict[str, Row], list[tuple[Row, str]]]:
    """Drop misprints and what can never compete, chemical system by chemical system."""
    kept, dropped = dict(rows), []
    for size in (2, 3, 4):
        systems: dict[frozenset[str], list[Row]] = defaultdict(list)
        for row in kept.values():
            names = frozenset(Composition(row.formula).as_dict())
            if len(names) == size:
                systems[names].append(row)
        for names, members in systems.items():
            subset = [r for r in kept.values() if set(Composition(r.formula).as_dict()) <= names]
            heights = [(_height(row, subset, names), row) for row in members]
            for height, row in heights:
                lowest = size == 2 and height == min(h for h, _ in heights)
                if height > KEEP_ABOVE_HULL and not lowest:
                    dropped.append((row, f"{height:.2f} eV per atom above the hull"))
                elif size > 2 and height < -WILDEST_REACTION:
                    dropped.append((row, f"{-height:.2f} eV per atom below the others: misprint"))
                else:
                    continue
                del kept[row.formula]
    return kept, dropped


def main(folder: Path) -> None:
    """Download, choose, check and write."""
    rows = _read_all(folder)
    by_formula: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        same = [r for r in by_formula[row.formula] if r.source == row.source]
        if not same or row.gibbs < same[0].gibbs:  # the most stable phase of each source
            by_formula[row.formula] = [r for r in by_formula[row.formula] if r not in same] + [row]
    chosen: dict[str, Row] = {}
    rejected: list[tuple[Row, str]] = []
    for group in by_formula.values():
        row, reason = settle(group)
        if row is None:
            rejected.append((group[0], reason))
        else:
            chosen[row.formula] = row
    kept, dropped = against_hull(chosen)
    kept |= {row.formula: row for row in alloy_rows()}
    kept["P"] = Row("P", RED_PHOSPHORUS, "NBS")
    TABLES.mkdir(exist_ok=True)
    with (TABLES / "thermochemistry.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["formula", "dgf_kj_per_mol", "method", "source", "citation"])
        for row in sorted(kept.values(), key=_order):
            source = row.source.split("+")[0]
            writer.writerow([row.formula, f"{row.gibbs:.1f}", _method(row), source, _cite(row)])
    with (TABLES / "thermochemistry_rejected.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["formula", "dgf_kj_per_mol", "source", "reason"])
        for row, reason in sorted(rejected + dropped, key=lambda pair: _order(pair[0])):
            if not reason.startswith("only in"):
                writer.writerow([row.formula, f"{row.gibbs:.1f}", row.source, reason])
    print(f"{len(kept)} compounds kept, {len(rejected)} settled as unknown, {len(dropped)} dropped")


def _read_all(folder: Path) -> list[Row]:
    for package in PACKAGES:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "-d",
                str(folder),
                package,
            ],
            check=True,
        )
    rows: list[Row] = []
    with zipfile.ZipFile(next(folder.glob("reaction_network-8.3.0*.whl"))) as wheel:
        data = "rxn_network/data"
        freed = json.loads(gzip.decompress(wheel.read(f"{data}/freed/compounds.json.gz")))
        janaf = json.loads(gzip.decompress(wheel.read(f"{data}/nist/compounds.json.gz")))
        rows += list(formation_tables(freed, "FREED")) + list(formation_tables(janaf, "JANAF"))
    with tarfile.open(next(folder.glob("reaction*network-4.0.0.tar.gz"))) as archive:
        member = archive.extractfile(
            next(n for n in archive.getnames() if n.endswith("data/barin/compounds.json"))
        )
        assert member is not None
        rows += list(formation_tables(json.load(member), "Barin"))
    with zipfile.ZipFile(next(folder.glob("chemicals-1.5.2*.whl"))) as wheel:
        rows += list(crc_rows(wheel))
    return rows


def tsv(wheel: zipfile.ZipFile, name: str) -> Iterator[dict[str, str]]:
    """Rows of a table in the wheel of chemicals."""
    text = io.TextIOWrapper(wheel.open(f"chemicals/{name}"), encoding="utf8")
    yield from csv.DictReader(text, delimiter="\t")


def identifiers(wheel: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """CAS numbers and formulas."""
    # The later files correct the earlier ones.
    for name in ("pubchem large", "pubchem small"):
        path = f"chemicals/Identifiers/chemical identifiers {name}.tsv"
        for line in io.TextIOWrapper(wheel.open(path), encoding="utf8"):
            _, number, formula, _ = line.split("\t", 3)
            yield number, formula
    inorganic = wheel.open("chemicals/Identifiers/Inorganic db.tsv")
    for line in io.TextIOWrapper(inorganic, encoding="utf8"):
        _, number, formula, _ = line.split("\t", 3)
        yield number, formula
    yield "12057-24-8", "Li2O"  # listed there as a cation


def _element_entropies(table: list[dict[str, Any]], formulas: dict[str, str]) -> dict[str, float]:
    """J/(K mol of atoms) of the elements in their reference states, the ones with H = 0."""
    names = {element.long_name: element.symbol for element in Element}
    found: dict[str, float] = {}
    for row in table:
        name = row["Chemical"].split(" (")[0]
        try:
            composition = Composition(formulas.get(row["CAS"]) or names.get(name, ""))
        except (ValueError, KeyError):
            continue
        if len(composition) != 1:
            continue
        symbol = composition.elements[0].symbol
        for enthalpy, entropy in (("Hfs", "S0s"), ("Hfl", "S0l"), ("Hfg", "S0g")):
            if row[enthalpy] and float(row[enthalpy]) == 0 and row[entropy]:
                found[symbol] = float(row[entropy]) / composition.num_atoms
    return found


def _height(row: Row, subset: list[Row], names: frozenset[str]) -> float:
    entries = [PDEntry(Composition(name), 0.0) for name in names]
    entries += [
        PDEntry(Composition(r.formula), r.gibbs / KJ_PER_EV) for r in subset if r is not row
    ]
    composition = Composition(row.formula)
    hull = PhaseDiagram(entries).get_hull_energy_per_atom(composition)
    return row.per_atom - float(hull)


def _smallest_multiple(amount: float) -> int:
    return next(n for n in range(1, 200) if abs(amount * n - round(amount * n)) < 0.01 * n**0.5)


def _order(row: Row) -> tuple[int, str, str]:
    names = sorted(Composition(row.formula).as_dict())
    return (len(names), "-".join(names), row.formula)


def _method(row: Row) -> str:
    return {
        "CRC+S": "enthalpy and entropy",
        "CRC+V": "enthalpy, entropy estimated from volume",
        "Huggins": row.note,
        "Wen": row.note,
    }.get(row.source, "Gibbs energy")


def _cite(row: Row) -> str:
    text = CITATIONS[row.source.split("+")[0]]
    return f"{text}; {CITATIONS['Glasser']}" if row.source == "CRC+V" else text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
