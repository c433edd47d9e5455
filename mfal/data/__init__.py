"""Data sets, all as one `MaterialTable`."""

from mfal.data.embedded import load_embedded
from mfal.data.table import CONDUCTIVITY, Label, Material, MaterialTable

__all__ = ["CONDUCTIVITY", "Label", "Material", "MaterialTable", "load_embedded"]
