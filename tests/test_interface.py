"""Nothing in the package that nobody reaches, and one meaning to a public name."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

UNREACHED: dict[str, str] = {
    "mfal.campaign.ledger.schema:SCHEMA_VERSION": "the version that a new ledger has",
    "mfal.crystals.reading:is_structure_name": "tells which files of a folder hold structures",
    "mfal.crystals.structures:shortest_distance": "judges what is realised, in tests",
    "mfal.crystals.structures:shortest_distances": "the same for each pair of elements",
    "mfal.gflownet.distributions:TruncatedLogistic": "one component of what values are drawn from",
    "mfal.crystals.groups:CRYSTAL_SYSTEM_NAMES": "tells people what CRYSTAL_SYSTEM numbers",
    "mfal.data.units:unit_factor": "between any two units, as `base_unit` to the table's own",
    "mfal.data.pool:exchanged": "makes the isotypes of the embedded table, experiments/tables",
    "mfal.data.pool:lattice_errors": "measures the pool's cells, experiments/data_pool.py",
}
"""Public names that nothing in the package or its documentation reaches, and why they stay."""

SHARED: dict[str, str] = {
    "add_parser": "each subcommand adds its own",
    "run": "each subcommand runs its own",
    "main": "the entry points of two programs",
}
"""Public names that several modules define, and why."""


class Name(NamedTuple):
    """A name at the top of a module."""

    module: str
    name: str


class Module(NamedTuple):
    """What a module defines, and what each definition mentions."""

    definitions: dict[str, set[Name]]
    loose: set[Name]
    """What its other statements mention: they run on import."""
    exports: list[str]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "mfal").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


PATHS = modules()


def aliases(tree: ast.AST) -> Iterator[tuple[str, Name]]:
    """Names that import statements bind, and what they stand for; ("mfal.x", "") is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mfal"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = Name(whole, "") if whole in PATHS else Name(str(node.module), alias.name)
                yield alias.asname or alias.name, target
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("mfal"):
                    yield alias.asname or alias.name, Name(alias.name, "")


def mentions(node: ast.AST, scope: dict[str, Name]) -> Iterator[Name]:
    """Names of the package that a piece of code mentions."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in scope:
            yield scope[part.id]
        elif isinstance(part, ast.Attribute):
            owner = ast.unparse(part.value)
            if owner in scope and not scope[owner].name:
                yield Name(scope[owner].module, part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            # mfal.oracles:conductivity_oracle, `python -m mfal.campaign.workers.process`, and
            # annotations in quotes.
            yield from references(part.value)
            yield from (scope[word] for word in re.findall(r"\w+", part.value) if word in scope)


def references(text: str) -> Iterator[Name]:
    """What a text names as module:function or as a module."""
    for module, name in re.findall(r"\b(mfal(?:\.\w+)*)(?::(\w+))?", text):
        if module in PATHS:
            yield Name(module, name)
        elif (split := module.rpartition("."))[0] in PATHS:
            yield Name(split[0], split[2])


def read(name: str) -> Module:
    tree = ast.parse(PATHS[name].read_text(encoding="utf-8"))
    scope = dict(aliases(tree))
    bodies: dict[str, list[ast.stmt]] = defaultdict(list)
    loose: list[ast.stmt] = []
    exports: list[str] = []
    for node in tree.body:
        names = []
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        if names == ["__all__"]:
            exports = ast.literal_eval(node.value)  # type: ignore[union-attr]
        elif names:
            for each in names:
                bodies[each].append(node)
        elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not is_docstring(node):
            loose.append(node)
    scope |= {each: Name(name, each) for each in bodies}
    return Module(
        {
            each: {m for node in nodes for m in mentions(without_docstrings(node), scope)}
            for each, nodes in bodies.items()
        },
        {m for node in loose for m in mentions(node, scope)},
        exports,
    )


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def without_docstrings(node: ast.AST) -> ast.AST:
    for part in ast.walk(node):
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            part.body = [each for each in part.body if not is_docstring(each)] or [ast.Pass()]
    return node


def documented() -> set[Name]:
    """What the command, the packages' `__all__` and the pages' programs name."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    found = {name for script in scripts.values() for name in references(script)}
    # The command loads the module of a subcommand by its name.
    found |= {Name(name, "add_parser") for name in PATHS if name.startswith("mfal.cli.")}
    for name, path in PATHS.items():
        if path.name == "__init__.py":
            found |= {Name(name, each) for each in read(name).exports}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        found |= set(references(text))
        # A module that a page names alone is documented as a whole.
        for module in re.findall(r"`(mfal[.\w]+)`", text):
            if module in PATHS:
                found |= {Name(module, each) for each in read(module).exports}
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            found |= {name for _, name in aliases(ast.parse(block))}
    return found


@cache
def reached() -> set[Name]:
    """All that a documented name needs, step by step."""
    known = {name: read(name) for name in PATHS}
    done: set[Name] = set()
    todo = documented()
    while todo:
        name = todo.pop()
        if name in done or name.module not in known:
            continue
        done.add(name)
        module = known[name.module]
        todo |= module.loose
        if name.name in module.definitions:
            todo |= module.definitions[name.name]
        elif name.name:
            # A package passes on what a module of it defines.
            scope = dict(aliases(ast.parse(PATHS[name.module].read_text(encoding="utf-8"))))
            todo |= {scope[name.name]} if name.name in scope else set()
        todo.add(Name(name.module, "__getattr__"))
    return done


def test_every_public_name_is_reached() -> None:
    found = reached()
    unreached = {
        f"{module}:{name}"
        for module in PATHS
        for name in read(module).definitions
        if not name.startswith("_") and Name(module, name) not in found
    }
    assert unreached - set(UNREACHED) == set()


def test_every_module_is_reached() -> None:
    found = {name.module for name in reached()}
    modules_ = {name for name, path in PATHS.items() if path.name != "__init__.py"}
    assert modules_ - found == set()


def test_what_another_module_takes_is_in_all() -> None:
    known = {name: read(name) for name in PATHS}
    taken = {
        f"{name.module}:{name.name}"
        for path in PATHS.values()
        for _, name in aliases(ast.parse(path.read_text(encoding="utf-8")))
        if name.module in known and known[name.module].exports
        if name.name and name.name not in known[name.module].exports
    }
    assert taken == set()


def test_a_public_function_or_type_has_one_meaning() -> None:
    homes = defaultdict(list)
    for module, path in PATHS.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
                homes[node.name].append(module)
    shared = {name: places for name, places in homes.items() if len(places) > 1}
    assert {name: shared[name] for name in shared if name not in SHARED} == {}
