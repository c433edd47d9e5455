"""What the learning parts of mfal need: run in an environment that holds nothing else.

    python tests/light_core.py              # imports, doctests and the pages' examples
    python tests/light_core.py --quick      # imports and the packages' own examples
    python tests/light_core.py --pretend    # the same where more is installed, which isn't found
    python tests/light_core.py mfal.potentials

Without pytest, so that it runs where only jax, numpy, flax, optax, distrax and chex are installed,
with what they require, and mfal by `pip install --no-deps`.
"""

import argparse
import ast
import doctest
import importlib
import os
import pkgutil
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

LEARNING = ("mfal.envs", "mfal.gflownet", "mfal.proxies", "mfal.acquisition")
NEEDS = {"mfal.potentials": ("jax", "numpy")} | dict.fromkeys(
    LEARNING, ("jax", "numpy", "flax", "optax", "distrax", "chex")
)
"""Packages that work alone, and the distributions that each needs."""


def required(names: tuple[str, ...]) -> set[str]:
    """Distributions with all that they require, leaving out extras."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # for another system or Python
            continue
        todo += [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]
    return found


class Absent(MetaPathFinder):
    """Modules of distributions that are not to be found."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises for a module that is to be absent; knows no other."""
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide_all_but(names: tuple[str, ...]) -> None:
    """Let modules of other installed distributions not be found."""
    kept = {"mfal", *required(names)}
    hidden = {
        module
        for module, owners in packages_distributions().items()
        if not kept & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    }
    sys.meta_path.insert(0, Absent(hidden))


def examples(page: Path, rooms: Sequence[str]) -> list[str]:
    """The programs of a page that need nothing of mfal but these packages and its tables."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        nodes = list(ast.walk(ast.parse(block)))
        imports = [str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)]
        whole = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
        ours = [name for name in imports if name.split(".")[0] == "mfal"]
        # A program that imports ASE by itself, say, shows how to use ASE.
        others = {name.split(".")[0] for name in imports + whole} - {"mfal"}
        own = set(ours) & set(rooms) and set(ours) <= {*rooms, "mfal.data"}
        if own and all(find_spec(name) is not None for name in others):
            found.append(block)
    return found


def main() -> None:
    """Import every module, then run what shows how they are used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", default=LEARNING, choices=[*NEEDS, LEARNING])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pretend", action="store_true")
    options = parser.parse_args()
    needed = {name for room in options.rooms for name in NEEDS[room]}
    if options.pretend:
        hide_all_but(tuple(needed))
    for absent in ("pymatgen", "pyxtal", "matplotlib", "numba", "spglib", "pandas", "platformdirs"):
        try:
            there = find_spec(absent) is not None
        except ModuleNotFoundError:
            there = False
        assert not there, f"{absent} is installed: this shows nothing here; use --pretend"

    tried = 0
    for room in options.rooms:
        package = importlib.import_module(room)
        for name in package.__all__:
            getattr(package, name)
        modules = [package] + [
            importlib.import_module(module.name)
            for module in pkgutil.walk_packages(package.__path__, f"{room}.")
        ]
        for module in modules[:1] if options.quick else modules:
            flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
            done = doctest.testmod(module, optionflags=flags)
            assert not done.failed, module.__name__
            tried += done.attempted
    if not options.quick:
        root = Path(__file__).parents[1]
        for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
            for block in examples(page, options.rooms):
                with tempfile.TemporaryDirectory() as folder:
                    os.chdir(folder)
                    exec(compile(block, page.name, "exec"), {"__name__": page.stem})
                    os.chdir(root)
                tried += 1
    print(f"{', '.join(options.rooms)}: all of {tried} examples ran")


if __name__ == "__main__":
    main()
