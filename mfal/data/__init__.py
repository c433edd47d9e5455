"""Data sets, all as one `MaterialTable`."""

from mfal.data.embedded import load_embedded
from mfal.data.obelix import load_obelix
from mfal.data.sendek import load_set40, load_set41
from mfal.data.table import CONDUCTIVITY, Label, Material, MaterialTable

__all__ = [
    "CONDUCTIVITY",
    "Label",
    "Material",
    "MaterialTable",
    "load_embedded",
    "load_obelix",
    "load_set40",
    "load_set41",
]
