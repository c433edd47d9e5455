"""Small structure files that tests write."""

from pymatgen.core import Lattice, Structure

ROCK_SALT_CELL = """\
_cell_length_a 5.13
_cell_length_b 5.13
_cell_length_c 5.13
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
"""
ROCK_SALT_SITES = """\
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 1
"""
FM3M = "_symmetry_space_group_name_H-M 'F m -3 m'\n_symmetry_Int_Tables_number 225\n"


def rock_salt_cif(symmetry=FM3M, sites=ROCK_SALT_SITES, cell=ROCK_SALT_CELL, name="LiCl", more=""):
    """LiCl as a CIF; parts of it may be replaced."""
    return f"data_{name}\n{cell}{symmetry}{more}{sites}"


def rock_salt(a=5.13):
    """LiCl in its conventional cell; `a` in Å."""
    corners = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    centres = [[0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.cubic(a), ["Li"] * 4 + ["Cl"] * 4, corners + centres)
