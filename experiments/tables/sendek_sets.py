"""Build `mfal/data/tables/set40.csv` and `set41.csv` from collections of the published sets.

    python experiments/tables/sendek_sets.py --set40 set40.csv --set41 set41.csv --obelix DIR

Facts of two papers: the 40 structures with measured room-temperature conductivities on which
Sendek et al., Energy Environ. Sci. 10, 306 (2017), doi:10.1039/C6EE02697D, trained, and the 41
materials that Sendek et al., Chem. Mater. 31, 342 (2019), doi:10.1021/acs.chemmater.8b03272,
simulated by DFT molecular dynamics, with the class that public sources report. Where another
compilation disagrees by a decade or more, the column `note` says so; no value is changed.
"""

import argparse
import math
import re
from pathlib import Path

import pandas as pd

TABLES = Path(__file__).parents[2] / "mfal" / "data" / "tables"
LATTICE = ["a", "b", "c", "alpha", "beta", "gamma"]
DISAGREEMENT = 1.0
"""Decades between two values of a conductivity that are worth a note."""
# Formulas of the published list whose oxygen doesn't balance, with what was meant.
TYPOS = {
    "Li15Ge3V2O4": "Li15Ge3VO16 (Li3.75Ge0.75V0.25O4)",
    "Li14.8Ge3.4W0.6O4": "Li14.8Ge3.4W0.6O16 (Li3.7Ge0.85W0.15O4)",
}


def decades(a: float, b: float) -> float:
    """Distance of two conductivities in decades."""
    return abs(math.log10(a / b))


def structure_id(source: object) -> str:
    """Id that the embedded table gives to the structure named in the collection."""
    text = str(source)
    if found := re.match(r"OBELiX (\w+)", text):
        return f"obelix-{found[1]}"
    if found := re.match(r"matbench_dielectric\(MP,PBE\) (\d+)", text):
        return f"mp-dielectric-{found[1]}"
    return ""


def near_room_temperature(text: object) -> list[float]:
    """Values between 15 and 35 degrees Celsius of a list like "1e-5@25.0;1e-3@100"."""
    pairs = re.findall(r"([\d.e+-]+)@([\d.]+)", str(text))
    return [float(value) for value, celsius in pairs if 15 <= float(celsius) <= 35]


def set40(path: Path, obelix_cells: dict[str, str]) -> pd.DataFrame:
    """The 40 structures, one row each; `obelix_cells` are compositions of conventional cells."""
    rows = []
    for row in pd.read_csv(path, dtype={"no": int}).to_dict("records"):
        sigma = row["sigma_RT_S_cm"]
        notes = []
        listed = str(row["formula_as_listed"])
        if listed in TYPOS:
            notes.append(f"listed as {listed}, meant is {TYPOS[listed]}")
        if listed.endswith("(2)"):
            notes.append("the set holds two structures of this formula")
        obelix = row["obelix_sigma_nearest"]
        ids = re.findall(r"(\w+)\((?:no)?cif,train", str(row["obelix_ids"]))
        if obelix > 0 and decades(obelix, sigma) >= DISAGREEMENT:
            notes.append(f"OBELiX has {obelix:g} S/cm, {decades(obelix, sigma):.1f} decades off")
        others = near_room_temperature(row["liverpool"])
        if others and min(decades(other, sigma) for other in others) >= DISAGREEMENT:
            nearest = min(others, key=lambda other: decades(other, sigma))
            notes.append(
                f"the Liverpool ionics compilation has {nearest:g} S/cm, "
                f"{decades(nearest, sigma):.1f} decades off"
            )
        structure = structure_id(row["structure_source"])
        rows.append(
            {
                "id": f"set40-{row['no']}",
                "formula": row["formula"],
                "name": row["common_name"],
                "sigma": sigma,
                "space_group_number": row["sg"],
                **{key: row[key] for key in LATTICE},
                "cell": obelix_cells.get(structure.removeprefix("obelix-"), ""),
                "structure": structure,
                "obelix": " ".join(ids),
                "confidence": row["confidence"],
                "note": "; ".join(notes),
            }
        )
    frame = pd.DataFrame(rows)
    frame["space_group_number"] = frame["space_group_number"].astype("Int64")
    return frame


def set41(path: Path) -> pd.DataFrame:
    """The 41 materials, one row each; class 1 is above 1e-4 S/cm, 0 below, empty unknown."""
    rows = []
    for row in pd.read_csv(path).to_dict("records"):
        notes = []
        digest = str(row["DFTMD_sigma_gt_1e-4 (digest of Table 2)"])
        label = row["superionic_label (hyattmeg/matsci176)"]
        if math.isnan(label):
            label = {"Yes": 1.0, "No": 0.0}.get(digest, math.nan)
        if digest == "Marginal":
            notes.append("reported as marginal")
        if not isinstance(row["formula"], str):
            notes.append("formula not in the public sources")
        rows.append(
            {
                "id": row["mp_id"],
                "formula": row["formula"],
                "subset": row["subset"].split("(")[0],
                "class": label,
                "p_sendek": row["P_superionic_Sendek"],
                "hull_eV": row["e_hull_eV"],
                "gap_eV": row["band_gap_eV"],
                "confidence": row["confidence"],
                "note": "; ".join(notes),
            }
        )
    frame = pd.DataFrame(rows)
    frame["class"] = frame["class"].astype("Int64")
    return frame


def main() -> None:
    """Read both collections, write both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--set40", type=Path, required=True)
    parser.add_argument("--set41", type=Path, required=True)
    parser.add_argument("--obelix", type=Path, required=True, help="folder with all.csv")
    parser.add_argument("--out", type=Path, default=TABLES)
    options = parser.parse_args()
    obelix = pd.read_csv(options.obelix / "all.csv", index_col="ID")
    cells = obelix["True Composition"].to_dict()
    sets = {"set40": set40(options.set40, cells), "set41": set41(options.set41)}
    for name, frame in sets.items():
        frame.to_csv(options.out / f"{name}.csv", index=False)
        print(f"{name}: {len(frame)} rows, {(frame['note'] != '').sum()} with a note")


if __name__ == "__main__":
    main()
