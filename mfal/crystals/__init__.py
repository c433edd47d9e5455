"""Crystals as arrays, and what symmetry and chemistry allow."""

from mfal.crystals.types import NUM_ELEMENTS, Crystal

__all__ = ["NUM_ELEMENTS", "Crystal"]
