"""Names of structure files; nothing heavy is imported, so that a command can list them soon."""

from pathlib import Path

__all__ = ["COMPRESSED", "is_structure_name", "plain_name"]

COMPRESSED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00"}
"""How files of the three kinds end, and how they begin."""

_SUFFIXES = {
    *(".cif", ".mcif", ".vasp", ".poscar", ".contcar", ".xyz", ".extxyz", ".xsf", ".json"),
    *(".res", ".ins", ".shelx", ".xdatcar", ".cell", ".cssr", ".gen", ".cube", ".in"),
}
_NAMES = ("POSCAR", "CONTCAR", "XDATCAR")


def plain_name(path: Path) -> Path:
    """The path without the suffix of compression.

    >>> plain_name(Path("a.cif.GZ")).name, plain_name(Path("a.cif")).name
    ('a.cif', 'a.cif')
    """
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def is_structure_name(path: Path) -> bool:
    """Whether a file's name is that of a structure, so that it counts in a folder of many."""
    plain = plain_name(path)
    return plain.suffix.lower() in _SUFFIXES or plain.name.upper().startswith(_NAMES)
