"""Crystals as arrays, and what symmetry and chemistry allow."""
