"""The tables that come with the package: known lithium compounds, and what competes with them."""

from __future__ import annotations

import functools
import gzip
import json
from importlib.resources import files
from typing import Any

from mfal.data.asymmetric import AsymmetricUnit
from mfal.data.table import CONDUCTIVITY, Label, Material, MaterialTable

__all__ = ["load_competing_phases", "load_embedded"]


@functools.cache
def load_embedded() -> MaterialTable:
    """Known lithium compounds: oxides, phosphates, silicates, sulfides, halides, nitrides.

    Lattices and positions are measured (`details["kind"] == "experiment"`), relaxed by density
    functional theory ("dft", about 1 % too large), or taken over from a known isotype and scaled
    ("isotype"). `details["noisy_positions"]` marks those from OBELiX, whose authors blurred free
    coordinates by 0.01 of the cell. Measured conductivities are at room temperature.
    `experiments/tables/li_compounds.py` rebuilds the file that is read here.
    """
    text = (files("mfal.data") / "tables" / "li_compounds.json").read_text(encoding="utf-8")
    table = json.loads(text)
    return MaterialTable.from_rows(_material(row, table["sources"]) for row in table["materials"])


@functools.cache
def load_competing_phases() -> MaterialTable:
    """Elements and compounds that bound the hull, with atoms; embedded lithium compounds left out.

    Their energies are in `mfal.oracles.stability.competing_phases`, by the same ids. Structures of
    the Materials Project and Alexandria as computed there, others relaxed by CHGNet.
    `experiments/tables/competing_phases.py` makes the file that is read here.
    """
    from mfal.data.table_json import from_json

    packed = (files("mfal.data") / "tables" / "competing_phases.json.gz").read_bytes()
    return from_json(gzip.decompress(packed).decode("utf-8"), "competing_phases.json.gz")


def _material(row: dict[str, Any], sources: dict[str, Any]) -> Material:
    unit = AsymmetricUnit.from_dict(row)
    database = sources.get(row["source"]["key"], {})
    papers = row["source"].get("doi", []) + row["source"].get("paper_doi", [])
    cited = [row["source"].get("citation"), database.get("citation"), row["source"]["entry"]]
    labels = tuple(
        Label(
            CONDUCTIVITY,
            found["value"],
            found["unit"],
            found["censoring"],
            source=" ".join([found["source"], *found["doi"]]),
        )
        for found in row["conductivity"]
    )
    return Material(
        id=row["id"],
        formula=row["formula"],
        composition=unit.composition,
        space_group_number=unit.space_group_number,
        lattice=unit.lattice,
        labels=labels,
        source="; ".join([part for part in cited if part] + [f"doi:{doi}" for doi in papers]),
        licence=database.get("licence", "facts, cited"),
        group=row["formula"],
        structure=unit,
        details={key: row[key] for key in ("name", "family", "kind", "noisy_positions", "note")},
    )
