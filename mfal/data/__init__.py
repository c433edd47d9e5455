"""Data sets, all as one `MaterialTable`."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.data.embedded import load_competing_phases, load_embedded
    from mfal.data.materials_project import fetch_materials_project
    from mfal.data.named import NAMED_TABLES, open_table
    from mfal.data.novelty import KNOWN_TABLES, KnownCrystals, known_crystals
    from mfal.data.obelix import composition_groups, load_obelix
    from mfal.data.optimade import fetch_optimade
    from mfal.data.pool import PoolConfig, make_pool
    from mfal.data.sendek import (
        MD_CONDUCTIVITY,
        SUPERIONIC_THRESHOLD,
        load_set40,
        load_set41,
        merge_values,
    )
    from mfal.data.table import CONDUCTIVITY, Label, LabelArrays, Material, MaterialTable
    from mfal.data.table_cifs import from_cif_folder, to_cif_folder
    from mfal.data.table_json import from_json, load_json, save_json, to_json
    from mfal.data.table_pandas import from_pandas, read_csv, to_pandas

__all__ = [
    "CONDUCTIVITY",
    "KNOWN_TABLES",
    "MD_CONDUCTIVITY",
    "NAMED_TABLES",
    "SUPERIONIC_THRESHOLD",
    "KnownCrystals",
    "Label",
    "LabelArrays",
    "Material",
    "MaterialTable",
    "PoolConfig",
    "composition_groups",
    "fetch_materials_project",
    "fetch_optimade",
    "from_cif_folder",
    "from_json",
    "from_pandas",
    "known_crystals",
    "load_competing_phases",
    "load_embedded",
    "load_json",
    "load_obelix",
    "load_set40",
    "load_set41",
    "make_pool",
    "merge_values",
    "open_table",
    "read_csv",
    "save_json",
    "to_cif_folder",
    "to_json",
    "to_pandas",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "embedded": "load_competing_phases load_embedded",
        "materials_project": "fetch_materials_project",
        "named": "NAMED_TABLES open_table",
        "novelty": "KNOWN_TABLES KnownCrystals known_crystals",
        "obelix": "composition_groups load_obelix",
        "optimade": "fetch_optimade",
        "pool": "PoolConfig make_pool",
        "sendek": "MD_CONDUCTIVITY SUPERIONIC_THRESHOLD load_set40 load_set41 merge_values",
        "table": "CONDUCTIVITY Label LabelArrays Material MaterialTable",
        "table_cifs": "from_cif_folder to_cif_folder",
        "table_json": "from_json load_json save_json to_json",
        "table_pandas": "from_pandas read_csv to_pandas",
    },
)
