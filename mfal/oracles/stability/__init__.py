"""Energies, the convex hull, and the electrochemical stability window."""
