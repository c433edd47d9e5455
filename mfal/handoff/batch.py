"""Handing a batch of candidates to people, to DFT and to the laboratory.

`write_batch` lays out one folder:

    BATCH/
      README.txt            how to answer
      batch.json            what was asked, for `mfal tell`
      answers.csv           the table to fill in
      ID/ID.cif             one folder per candidate
      ID/POSCAR INCAR KPOINTS POTCAR.spec
      ID/flow.json          with `flow=True`

The VASP inputs are those of pymatgen's `MPRelaxSet`, the Materials Project's relaxation; pseudo-
potentials are named, not copied, since they are licensed. `mfal.handoff.answers` reads the replies.
"""

import csv
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pymatgen.core import Composition, Structure

from mfal.errors import MfalError
from mfal.handoff.measurements import quantity

__all__ = [
    "COLUMNS",
    "TEMPLATE",
    "AskedBatch",
    "Request",
    "WrittenBatch",
    "check_new",
    "confined",
    "read_batch",
    "request_id",
    "write_batch",
]

COLUMNS = (
    "id",
    "formula",
    "measurement",
    "conditions",
    "unit",
    "status",
    "value",
    "uncertainty",
    "note",
)
TEMPLATE = "answers.csv"
FORMAT = 1
"""Version of batch.json."""
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What an id or a campaign's name may look like, since it becomes the name of a folder."""

README = """{count} measurements for campaign {campaign}.

Fill in answers.csv (one line per candidate) and run: mfal tell CAMPAIGN {name}

status      ok, failed (it was tried and gave no value) or abandoned (it won't be tried);
            empty counts as ok where there is a value
value       in the line's unit: 1.2e-6, 1,2E-06 or 1.2(3)e-6; a limit of detection as <1e-10
unit        may be changed to another unit of the same quantity (mS/cm, S m-1, log10(S/cm) ...)
conditions  may name another temperature with the activation energy, as in "60 °C, Ea = 0.35 eV":
            the value is then converted; without one it is refused
note        anything worth keeping

Or run VASP in the candidates' folders, leave vasprun.xml there, and run: mfal tell CAMPAIGN {name}
"""


class Request(NamedTuple):
    """One measurement that a campaign asks for."""

    id: str
    """Unique, made by `request_id`."""
    formula: str
    measurement: str
    """Name of a quantity in `mfal.handoff.measurements`."""
    structure: Structure | None = None
    """Atoms, where they are known or proposed."""
    conditions: str = ""
    """In words, as "300 K, bulk"."""


class AskedBatch(NamedTuple):
    """What a batch asked, as its folder remembers it; the requests come without structures."""

    campaign: str
    requests: dict[str, Request]


class WrittenBatch(NamedTuple):
    """A batch on disk."""

    folder: Path
    template: Path
    notes: tuple[str, ...]
    """What couldn't be written, and why; the measurement can be made all the same."""


def request_id(campaign: str, number: int) -> str:
    """The id of a campaign's query, so that the ids of two campaigns never meet.

    >>> request_id("garnets", 17)
    'garnets-00017'
    """
    _safe(campaign, "campaign")
    return f"{campaign}-{number:05d}"


def write_batch(
    folder: Path | str,
    campaign: str,
    requests: Sequence[Request],
    *,
    vasp: bool = True,
    flow: bool = False,
) -> WrittenBatch:
    """Write a batch: all of it, or nothing.

    Args:
      folder: a new folder.
      campaign: the campaign's name, the prefix of all ids.
      requests: at least one; ids differ.
      vasp: whether to write VASP inputs for the ordered structures.
      flow: whether to write atomate2 flows as JSON; needs the extra `workflow`.

    Raises:
      MfalError: the folder exists or can't be written, an id isn't this campaign's or comes twice,
        an unknown measurement, or the extra isn't installed.
    """
    folder = Path(folder)
    _check(folder, campaign, requests)
    make_flow = _flow_maker() if flow else None
    notes: list[str] = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise MfalError(
            f"{folder}: {error.strerror}", "choose a folder that can be written"
        ) from error
    try:
        for request in requests:
            notes += _write_request(confined(building, request.id), request, vasp, make_flow)
        _write_template(building / TEMPLATE, requests)
        _write_manifest(building / "batch.json", campaign, requests)
        text = README.format(count=len(requests), campaign=campaign, name=folder.name)
        (building / "README.txt").write_text(text, encoding="utf8")
        building.chmod(0o755)
        os.rename(building, folder)
    except OSError as error:
        raise MfalError(
            f"{folder}: {error.strerror or error}", "free some space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return WrittenBatch(folder, folder / TEMPLATE, tuple(notes))


def check_new(folder: Path) -> None:
    """Makes sure that nothing is there yet.

    Raises:
      MfalError: where something is.
    """
    if folder.exists() or folder.is_symlink():
        raise MfalError(f"{folder}: exists already", "give a new folder for the batch")


def read_batch(folder: Path | str) -> AskedBatch:
    """What the batch in a folder asked.

    Raises:
      MfalError: no batch, or one that this version can't read.
    """
    path = Path(folder) / "batch.json"
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "give the folder that mfal ask wrote"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise MfalError(f"{path}: damaged ({error})", "run mfal ask again") from error
    try:
        if content["format"] != FORMAT:
            raise MfalError(
                f"{path}: format {content['format']}, this version reads {FORMAT}",
                "use the version of mfal that wrote it",
            )
        campaign = _safe(content["campaign"], "campaign")
        requests = [Request(**row) for row in content["requests"]]
    except (KeyError, TypeError) as error:
        raise MfalError(f"{path}: damaged ({error})", "run mfal ask again") from error
    for request in requests:
        _safe(request.id, "id")
        quantity(request.measurement)
    return AskedBatch(campaign, {request.id: request for request in requests})


def confined(folder: Path, name: str) -> Path:
    """The path of `name` in `folder`, which it can't leave.

    Raises:
      MfalError: the name holds a path, or a link leads elsewhere.
    """
    path = folder / _safe(name, "id")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise MfalError(f"{path}: leads out of {folder}", "remove the link")
    return path


def _check(folder: Path, campaign: str, requests: Sequence[Request]) -> None:
    _safe(campaign, "campaign")
    if not requests:
        raise MfalError(f"{folder}: nothing to ask", "give at least one request")
    check_new(folder)
    seen: set[str] = set()
    for request in requests:
        _safe(request.id, "id")
        if not request.id.startswith(f"{campaign}-"):
            raise MfalError(f"{request.id}: not an id of campaign {campaign}", "use request_id")
        if request.id in seen:
            raise MfalError(f"{request.id}: asked twice", "give every request its own id")
        seen.add(request.id)
        quantity(request.measurement)
        _same_formula(request)


def _same_formula(request: Request) -> None:
    if request.structure is None:
        return
    found = request.structure.composition.element_composition.reduced_formula
    if Composition(request.formula).reduced_formula != found:
        raise MfalError(
            f"{request.id}: its structure is {found}, not {request.formula}", "give matching ones"
        )


def _write_request(folder: Path, request: Request, vasp: bool, make_flow: Any) -> list[str]:
    folder.mkdir()
    structure = request.structure
    if structure is None:
        return [f"{request.id}: no structure, so neither CIF nor VASP inputs"]
    structure = structure.copy()
    structure.remove_oxidation_states()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        structure.to(filename=str(folder / f"{request.id}.cif"), fmt="cif")
        if not vasp and make_flow is None:
            return []
        if not structure.is_ordered:
            return [f"{request.id}: no VASP inputs for partial occupancies, order the cell first"]
        try:
            if vasp:
                _write_vasp(folder, structure)
            if make_flow is not None:
                text = json.dumps(make_flow(structure, request.id))
                (folder / "flow.json").write_text(text, encoding="utf8")
        except (KeyError, ValueError) as error:
            return [f"{request.id}: no VASP inputs ({' '.join(str(error).split())})"]
    return []


def _write_vasp(folder: Path, structure: Structure) -> None:
    from pymatgen.io.vasp.sets import MPRelaxSet

    inputs = MPRelaxSet(structure)  # which sorts the species, POSCAR and POTCAR alike
    files = {
        "POSCAR": str(inputs.poscar),
        "INCAR": str(inputs.incar),
        "KPOINTS": str(inputs.kpoints),
        "POTCAR.spec": "\n".join(inputs.potcar_symbols),
    }
    for name, text in files.items():
        (folder / name).write_text(text.rstrip("\n") + "\n", encoding="utf8")


def _flow_maker() -> Any:
    try:
        from atomate2.vasp.flows.mp import MPGGADoubleRelaxStaticMaker
        from monty.json import jsanitize
    except ImportError as error:
        raise MfalError(
            f"flows need atomate2, which isn't installed ({error.name})",
            "pip install 'mfal[workflow]', or leave flows out",
        ) from error

    def make(structure: Structure, name: str) -> Any:
        flow = MPGGADoubleRelaxStaticMaker().make(structure)
        flow.name = name
        return jsanitize(flow, strict=True, allow_bson=False)

    return make


def _write_template(path: Path, requests: Sequence[Request]) -> None:
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for request in requests:
            unit = quantity(request.measurement).asked
            row = (request.id, request.formula, request.measurement, request.conditions, unit)
            writer.writerow([*row, "", "", "", ""])


def _write_manifest(path: Path, campaign: str, requests: Sequence[Request]) -> None:
    rows = [
        {
            "id": request.id,
            "formula": request.formula,
            "measurement": request.measurement,
            "conditions": request.conditions,
        }
        for request in requests
    ]
    content = {"format": FORMAT, "campaign": campaign, "requests": rows}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf8")


def _safe(name: str, what: str) -> str:
    if not isinstance(name, str) or not SAFE.fullmatch(name) or ".." in name:
        raise MfalError(
            f"{what} {name!r}: not usable as the name of a folder",
            "use letters, digits, hyphens and underscores",
        )
    return name
