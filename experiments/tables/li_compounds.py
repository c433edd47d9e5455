"""Build `mfal/data/tables/li_compounds.json`: known lithium compounds, each with its source.

    python experiments/tables/li_compounds.py --obelix DIR --set40 set40.csv \
        --dielectric crystal_toolkit-2026.7.20-py3-none-any.whl

Sources:
- Materials Project structures (density-functional theory, PBE) as collected in matbench_dielectric
  v0.1, which the wheel of crystal-toolkit carries (`pip download --no-deps crystal-toolkit`);
- OBELiX (a folder with `all.csv` and `all_randomized_cifs`): measured lattices and groups,
  coordinates blurred on purpose by the authors, measured conductivities;
- Sendek et al. 2017 (a CSV file): measured conductivities;
- `li_published.json` beside this script: asymmetric units transcribed from the papers it cites.

The lists in `li_selection.json` say which entries are taken, and why they carry their names.
"""

import argparse
import gzip
import json
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import spglib
from pymatgen.core import Composition, Lattice, Structure

from mfal.crystals.reading import read_structure
from mfal.data.asymmetric import AsymmetricUnit, asymmetric_unit, build_structure
from mfal.data.pool import exchanged

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "mfal" / "data" / "tables" / "li_compounds.json"
DIELECTRIC = "crystal_toolkit/apps/examples/matbench_dielectric.json.gz"
DIELECTRIC_SYMPREC = 0.1
"""Å; relaxations leave atoms a few hundredths off."""
OBELIX_SYMPREC = 0.001
"""Å; the authors' noise keeps the symmetry."""
SOURCES = {
    "materials-project": {
        "citation": "Jain et al., APL Materials 1, 011002 (2013), by way of matbench_dielectric "
        "v0.1 (Petousis et al., Scientific Data 4, 160134 (2017))",
        "doi": ["10.1063/1.4812323", "10.1038/sdata.2016.134"],
        "licence": "CC BY 4.0, The Materials Project",
    },
    "obelix": {
        "citation": "Therrien et al., OBELiX, arXiv:2502.14234 (2025)",
        "doi": ["10.48550/arXiv.2502.14234"],
        "licence": "CC BY 4.0, the OBELiX authors",
    },
    "sendek2017": {
        "citation": "Sendek et al., Energy Environ. Sci. 10, 306 (2017)",
        "doi": ["10.1039/C6EE02697D"],
        "licence": "facts, cited",
    },
    "cod": {
        "citation": "Crystallography Open Database, Grazulis et al., Nucleic Acids Res. 40, D420 "
        "(2012)",
        "doi": ["10.1093/nar/gkr900"],
        "licence": "public domain",
    },
    "amcsd": {
        "citation": "American Mineralogist Crystal Structure Database, Downs & Hall-Wallace, "
        "American Mineralogist 88, 247 (2003)",
        "doi": ["10.2138/am-2003-0128"],
        "licence": "facts, cited",
    },
}
NOISY = "free coordinates carry Gaussian noise of 0.01 in fractions of the cell, added by OBELiX"
FAMILIES = (
    ({"H"}, "hydride"),
    ({"N"}, "nitride"),
    ({"P", "O"}, "phosphate"),
    ({"Si", "O"}, "silicate"),
    ({"Ge", "O"}, "germanate"),
    ({"B", "O"}, "borate"),
    ({"C", "O"}, "carbonate"),
    ({"S", "O"}, "sulfate"),
    ({"O"}, "oxide"),
    ({"P", "S"}, "thiophosphate"),
    ({"S"}, "sulfide"),
    ({"Se"}, "selenide"),
    ({"Te"}, "telluride"),
    ({"F"}, "fluoride"),
    ({"Cl"}, "chloride"),
    ({"Br"}, "bromide"),
    ({"I"}, "iodide"),
    ({"P"}, "phosphide"),
)


def family(formula: str) -> str:
    """Chemical class by the elements present, the first match of `FAMILIES`."""
    elements = {element.symbol for element in Composition(formula)}
    return next((name for needed, name in FAMILIES if needed <= elements), "other")


def conductivity(text: str) -> dict[str, Any] | None:
    """A conductivity, S/cm, from OBELiX's notation; None where nothing is given."""
    text = str(text).strip()
    if not text or text == "nan":
        return None
    censoring = {"<": "below", ">": "above"}.get(text[0], "exact")
    return {"value": float(text.lstrip("<>")), "unit": "S/cm", "censoring": censoring}


def measurements(obelix: pd.DataFrame, set40: pd.DataFrame) -> dict[tuple[str, int], list[Any]]:
    """Room-temperature conductivities by (reduced formula, space group number)."""
    found: dict[tuple[str, int], list[Any]] = {}
    for row in obelix.to_dict("records"):
        value = conductivity(row["Ionic conductivity (S cm-1)"])
        if value is not None:
            key = (formula_key(row["True Composition"]), int(row["Space group #"]))
            record = value | {"source": f"obelix:{row['ID']}", "doi": dois(row["DOI"])}
            found.setdefault(key, []).append(record)
    for row in set40.to_dict("records"):
        if math.isnan(row["sigma_RT_S_cm"]) or math.isnan(row["sg"]):
            continue
        key = (formula_key(row["formula"]), int(row["sg"]))
        record = {"value": row["sigma_RT_S_cm"], "unit": "S/cm", "censoring": "exact"}
        found.setdefault(key, []).append(
            record | {"source": f"sendek2017:{row['no']}", "doi": SOURCES["sendek2017"]["doi"]}
        )
    return found


def formula_key(formula: str) -> str:
    """One spelling of a composition: reduced, alphabetical, amounts to three digits."""
    composition = Composition(formula).fractional_composition
    return " ".join(f"{e.symbol}{composition[e]:.3f}" for e in sorted(composition, key=str))


def dois(text: object) -> list[str]:
    """The DOIs of an OBELiX cell, which separates them by bars."""
    return [part for part in str(text).split("|") if part.startswith("10.")]


def check(unit: AsymmetricUnit, structure: Structure, name: str) -> None:
    """The rebuilt crystal has the source's density and composition."""
    rebuilt = build_structure(unit)
    plain = structure.copy()
    plain.remove_oxidation_states()
    ratio = rebuilt.volume / structure.volume
    got = rebuilt.composition.element_composition
    want = plain.composition * ratio
    assert all(abs(got[e] - want[e]) < 1e-2 * ratio for e in want), f"{name}: {got} is not {want}"


def from_dielectric(wheel: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of the chosen rows of matbench_dielectric."""
    with zipfile.ZipFile(wheel) as archive:
        table = json.loads(gzip.decompress(archive.read(DIELECTRIC)))
    records = []
    for row in rows:
        structure = Structure.from_dict(table["structure"][str(row["row"])])
        structure.remove_oxidation_states()
        unit = asymmetric_unit(structure, symprec=DIELECTRIC_SYMPREC)
        check(unit, structure, row["name"])
        records.append(
            record(
                row,
                f"mp-dielectric-{row['row']}",
                unit,
                kind="dft",
                source={
                    "key": "materials-project",
                    "entry": f"matbench_dielectric v0.1, row {row['row']}",
                },
            )
        )
    return records


def from_obelix(
    folder: Path, table: pd.DataFrame, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Records of the chosen CIFs of OBELiX."""
    by_id = {row["ID"]: row for row in table.to_dict("records")}
    records = []
    for row in rows:
        structure = read_structure(folder / "all_randomized_cifs" / f"{row['id']}.cif")
        for element, position, occupancy in row.get("add", []):
            share(structure, element, position, occupancy)
        unit = asymmetric_unit(structure, symprec=OBELIX_SYMPREC)
        check(unit, structure, row["name"])
        fact = by_id[row["id"]]
        own = conductivity(fact["Ionic conductivity (S cm-1)"])
        assert own is not None
        made = record(
            row,
            f"obelix-{row['id']}",
            unit,
            kind="experiment",
            source={"key": "obelix", "entry": row["id"], "paper_doi": dois(fact["DOI"])},
            noisy=has_free_coordinates(unit),
        )
        made["conductivity"] = [own | {"source": f"obelix:{row['id']}", "doi": dois(fact["DOI"])}]
        records.append(made)
    return records


def share(structure: Structure, element: str, position: list[float], occupancy: float) -> None:
    """Let an element fill part of the site that is already at a position."""
    for index, site in enumerate(structure):
        if np.allclose(site.frac_coords, position, atol=1e-6):
            structure[index] = site.species + Composition({element: occupancy})
            return
    raise ValueError(f"no site at {position}")


def has_free_coordinates(unit: AsymmetricUnit) -> bool:
    """Whether a position has a coordinate that isn't a multiple of 1/24."""
    return any(abs(x * 24 - round(x * 24)) > 1e-4 for site in unit.sites for x in site.position)


def from_papers(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of asymmetric units transcribed from papers."""
    records = []
    for entry in entries:
        structure = from_hall(entry["hall_number"], entry["lattice"], entry["sites"])
        unit = asymmetric_unit(structure, symprec=0.01)
        check(unit, structure, entry["name"])
        made = record(entry, entry["id"], unit, kind=entry["kind"], source=entry["source"])
        records.append(made)
    return records


def from_isotypes(
    entries: list[dict[str, Any]], records: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Records of crystals known to be isotypic with one of `records`: ions exchanged, scaled."""
    parents = {made["id"]: AsymmetricUnit.from_dict(made) for made in records}
    made = []
    for entry in entries:
        exchange = {
            (old, float(charge)): (new, float(charge)) for old, charge, new in entry["exchange"]
        }
        unit = exchanged(parents[entry["isotype_of"]], exchange)
        made.append(record(entry, entry["id"], unit, kind=entry["kind"], source=entry["source"]))
    return made


def from_hall(hall_number: int, lattice: list[float], sites: list[Any]) -> Structure:
    """A structure from its published asymmetric unit, in any setting that spglib knows."""
    operations = spglib.get_symmetry_from_database(hall_number)
    species, positions = [], []
    for filling, position in sites:
        images = operations["rotations"] @ np.array(position) + operations["translations"]
        orbit: list[np.ndarray] = []
        for image in images:
            if all(np.abs((image - x + 0.5) % 1 - 0.5).max() > 1e-3 for x in orbit):
                orbit.append(image)
        species += [Composition(dict(filling))] * len(orbit)
        positions += orbit
    return Structure(Lattice.from_parameters(*lattice), species, positions, to_unit_cell=True)


def record(
    row: dict[str, Any],
    identifier: str,
    unit: AsymmetricUnit,
    *,
    kind: str,
    source: dict[str, Any],
    noisy: bool = False,
) -> dict[str, Any]:
    """One row of the table."""
    composition = Composition(unit.composition)
    formula = row.get("formula") or composition.reduced_formula
    notes = [row.get("note", ""), NOISY if noisy else ""]
    return {
        "id": identifier,
        "name": row["name"],
        "formula": formula,
        "family": row.get("family") or family(composition.reduced_formula),
        "kind": kind,
        **unit.to_dict(),
        "source": source,
        "conductivity": [],
        "noisy_positions": noisy,
        "note": "; ".join(part for part in notes if part),
    }


def dump(records: list[dict[str, Any]]) -> str:
    """JSON with one site a line."""
    lines = []
    for made in records:
        head = {key: value for key, value in made.items() if key != "sites"}
        sites = ",\n  ".join(json.dumps(site, separators=(",", ":")) for site in made["sites"])
        lines.append(json.dumps(head, ensure_ascii=False)[:-1] + f', "sites": [\n  {sites}]}}')
    body = ",\n".join(lines)
    sources = json.dumps(SOURCES, ensure_ascii=False, indent=1)
    return f'{{"schema": 1,\n"sources": {sources},\n"materials": [\n{body}\n]}}\n'


def main() -> None:
    """Read the sources, write the table, print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--dielectric", type=Path, required=True, help="wheel of crystal-toolkit")
    parser.add_argument("--obelix", type=Path, required=True, help="folder with all.csv and CIFs")
    parser.add_argument("--set40", type=Path, required=True, help="CSV of Sendek et al. 2017")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    warnings.simplefilter("ignore")

    selection = json.loads((HERE / "li_selection.json").read_text())
    published = json.loads((HERE / "li_published.json").read_text())
    obelix = pd.read_csv(options.obelix / "all.csv")
    measured = measurements(obelix, pd.read_csv(options.set40))
    isotypes = [entry for entry in published if "isotype_of" in entry]
    records = from_papers([entry for entry in published if entry not in isotypes])
    records += from_dielectric(options.dielectric, selection["matbench_dielectric"])
    records += from_obelix(options.obelix, obelix, selection["obelix"])
    records += from_isotypes(isotypes, records)
    for made in records:
        composition = AsymmetricUnit.from_dict(made).composition
        actual = formula_key(Composition(composition).formula)
        stated = formula_key(made["formula"])
        for formula in (actual, stated):
            key = (formula, made["space_group_number"])
            made["conductivity"] = made["conductivity"] or measured.get(key, [])
        if stated != actual:
            print(f"{made['id']}: {made['formula']} stands for {Composition(composition).formula}")
    records.sort(key=lambda made: (made["formula"], made["space_group_number"], made["id"]))
    options.out.write_text(dump(records), encoding="utf-8")
    print(f"{len(records)} compounds, {options.out.stat().st_size / 1e3:.0f} kB -> {options.out}")
    counts = pd.Series([made["family"] for made in records]).value_counts()
    print(counts.to_string())
    print(sum(bool(made["conductivity"]) for made in records), "with measured conductivity")


if __name__ == "__main__":
    main()
