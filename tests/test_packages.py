"""What the packages export: it is there, it is explained, and the pages show nothing else."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "mfal").rglob("__init__.py")
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def exports(package: str) -> list[str]:
    return list(getattr(importlib.import_module(package), "__all__", ()))


def source(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def explained(module: str, name: str) -> bool:
    """Whether a docstring follows the name where it is defined."""
    body = source(module).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return bool(ast.get_docstring(node))
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    for node in ast.walk(source(module)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return explained(str(node.module), alias.name)
    return False


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there_and_explained(package: str) -> None:
    module = importlib.import_module(package)
    names = exports(package)
    assert len(names) == len(set(names)), "a name is exported twice"
    assert set(names) <= set(dir(module))
    for name in names:
        value = getattr(module, name)
        assert not isinstance(value, ModuleType), f"{package}.{name} is a submodule's name"
        if name != "__version__":
            assert explained(package, name), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = importlib.import_module(package).nonsense


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_show_the_documented_interface_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "mfal":
                shown = {alias.name for alias in node.names}
                assert shown <= set(exports(str(node.module))), ast.unparse(node)
    for module, name in re.findall(r"\b(mfal(?:\.[a-z]\w*)*)[.:](\w+)", text):
        known = f"{module}.{name}" in PACKAGES or (module in PACKAGES and name in exports(module))
        assert known, f"{module}.{name}"


def test_packages_load_what_they_export_when_it_is_asked_for() -> None:
    """Importing a package that isn't JAX's own brings in neither JAX nor a structure library."""
    eager = ("acquisition", "envs", "gflownet", "potentials", "proxies")
    light = [name for name in PACKAGES if not name.startswith(tuple(f"mfal.{e}" for e in eager))]
    code = f"import sys, {', '.join(light)}; print([m for m in sys.modules if m in {HEAVY!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("jax", "matplotlib", "numba", "numpy", "pandas", "pymatgen", "rich", "scipy", "spglib")
