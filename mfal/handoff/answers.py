"""Reading what comes back of a batch: a filled table, or finished VASP folders.

Nothing here changes anything: the reader checks every line and either returns all answers, or says
which lines are wrong; with `partial` it returns the right ones and lists the others.
"""

import csv
import io
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from mfal.crystals.formulas import formula_amounts
from mfal.crystals.reading import read_bytes, text_of_bytes
from mfal.errors import MfalError
from mfal.handoff.batch import COLUMNS, TEMPLATE, AskedBatch, Request, confined
from mfal.handoff.conditions import parse_conditions, to_temperature
from mfal.handoff.measurements import Reading, convert, parse_reading, quantity

__all__ = ["AnswerError", "ReturnedAnswer", "ReturnedAnswers", "read_answers"]

STATUSES = ("ok", "failed", "abandoned")
LARGEST_RUN = 2**30
"""Bytes of one vasprun.xml."""
SAME = 1e-3
"""Relative difference of the share of an element up to which two formulas are one compound: a
digit less of a long decimal passes, Li2.98 for Li3 doesn't."""
SHOWN = 8
"""Problems in the message; all are in `AnswerError.problems`."""
RUNS = ("vasprun.xml", "vasprun.xml.gz", "vasprun.relax2.xml", "vasprun.relax2.xml.gz")


class ReturnedAnswer(NamedTuple):
    """What came of one request."""

    id: str
    status: str
    """"ok", "failed" (it was tried) or "abandoned" (it won't be)."""
    value: float | None
    """The value in `unit`; None unless the status is ok."""
    uncertainty: float | None
    """One standard deviation in `unit`, where given."""
    censoring: str
    """"exact", or "below" or "above" a limit of detection."""
    unit: str
    """The campaign's unit of this quantity ("log10 S/cm")."""
    note: str
    where: str
    """File and line, for the record."""


class ReturnedAnswers(NamedTuple):
    """All that was read."""

    answers: tuple[ReturnedAnswer, ...]
    problems: tuple[str, ...]
    """What was refused, line by line; empty unless `partial`."""
    unanswered: tuple[str, ...]
    """Ids still open."""


class AnswerError(MfalError):
    """Answers that can't be taken. `problems` has one line for each."""

    def __init__(self, source: str, problems: Collection[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:SHOWN])
        rest = len(self.problems) - SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        super().__init__(
            f"{source}: {shown}{more}",
            "nothing was changed: mend these, or use --partial to take the rest",
        )

    def __reduce__(self) -> "tuple[type[AnswerError], tuple[str, tuple[str, ...]]]":  # type: ignore[override]
        return (type(self), (self.source, self.problems))


class _Line(NamedTuple):
    where: str
    cells: dict[str, str]
    excess: str
    """What is wrong with the line's number of cells."""


class _Problem(NamedTuple):
    id: str
    text: str


def read_answers(
    path: Path | str,
    batch: AskedBatch,
    *,
    answered: Mapping[str, float | None] | None = None,
    partial: bool = False,
) -> ReturnedAnswers:
    """Read a filled table, or a batch's folder: its `answers.csv` and its finished VASP runs.

    From vasprun.xml come energies per atom and band gaps; a run that didn't converge is an answer
    too: failed.

    Args:
      path: the table (separated by commas, semicolons or tabs, in any encoding) or the folder.
      batch: what was asked.
      answered: ids that have been answered before, and with which value in the campaign's unit
        (None for failed and abandoned); the same answer again is passed over, another is wrong.
      partial: take the right answers and leave the wrong and the open ones for later.

    Raises:
      MfalError: the file can't be read as a table at all.
      AnswerError: an answer is wrong or missing, and `partial` isn't set.
    """
    path = Path(path)
    before = answered or {}
    if not path.is_dir():
        answers, problems = _from_table(path, batch, before)
        return _settle(path.name, batch, before, answers, problems, partial)
    template = path / TEMPLATE
    answers, problems = _from_table(template, batch, before) if template.exists() else ([], [])
    written = {answer.id for answer in answers} | {problem.id for problem in problems}
    for answer, problem in _from_runs(path, batch, before):
        if problem is not None:
            problems.append(problem)
        elif answer is not None and answer.id not in written:
            answers.append(answer)
        elif answer is not None:
            text = f"{answer.id}: answered by {TEMPLATE} and by {answer.where}; keep one of them"
            problems.append(_Problem(answer.id, text))
            answers = [other for other in answers if other.id != answer.id]
    return _settle(str(path), batch, before, answers, problems, partial)


def _from_table(
    path: Path, batch: AskedBatch, before: Mapping[str, float | None]
) -> tuple[list[ReturnedAnswer], list[_Problem]]:
    lines = _table(path)
    problems = _repeated(lines)
    repeated = {problem.id for problem in problems}
    answers = []
    for line in lines:
        name = line.cells["id"]
        if name in repeated or (name in batch.requests and _is_blank(line)):
            continue
        try:
            if line.excess:
                raise MfalError(line.excess, "quote notes, write decimals with a point")
            answer = _answer(line, _requested(name, batch), path.name)
            if name not in before:
                answers.append(answer)
            elif not _same_value(answer.value, before[name]):
                raise MfalError(f"id {name} has another answer already", "remove the line")
        except MfalError as error:
            problems.append(_Problem(name, f"{line.where}: {error}"))
    return answers, problems


def _from_runs(
    folder: Path, batch: AskedBatch, before: Mapping[str, float | None]
) -> Iterator[tuple[ReturnedAnswer | None, _Problem | None]]:
    for request in batch.requests.values():
        if request.id in before:
            continue
        try:
            run = _run_file(folder, request)
            if run is not None:
                yield _vasp_answer(run, request), None
        except MfalError as error:
            yield None, _Problem(request.id, f"{request.id}: {error}")


def _settle(
    source: str,
    batch: AskedBatch,
    answered: Collection[str],
    answers: list[ReturnedAnswer],
    problems: list[_Problem],
    partial: bool,
) -> ReturnedAnswers:
    have = {answer.id for answer in answers} | set(answered)
    open_ids = tuple(name for name in batch.requests if name not in have)
    texts = [problem.text for problem in problems]
    if not partial:
        named = {problem.id for problem in problems}
        texts += [
            f"{name}: no answer; give a value, failed or abandoned"
            for name in open_ids
            if name not in named
        ]
        if texts:
            raise AnswerError(source, texts)
    return ReturnedAnswers(tuple(answers), tuple(texts), open_ids)


def _repeated(lines: Iterable[_Line]) -> list[_Problem]:
    first: dict[str, str] = {}
    problems = []
    for line in lines:
        name = line.cells["id"]
        if name and name in first:
            text = f"{line.where}: id {name} again, as in {first[name]}; keep one of them"
            problems.append(_Problem(name, text))
        first.setdefault(name, line.where)
    return problems


def _same_value(new: float | None, old: float | None) -> bool:
    if new is None or old is None:
        return new is old
    return math.isclose(new, old, rel_tol=1e-9)


def _requested(name: str, batch: AskedBatch) -> Request:
    if not name:
        raise MfalError("no id", "keep the ids of the template")
    if name in batch.requests:
        return batch.requests[name]
    campaign = name.rpartition("-")[0]
    if campaign and campaign != batch.campaign:
        raise MfalError(
            f"id {name} belongs to campaign {campaign}, not to {batch.campaign}",
            "tell it to its own campaign",
        )
    raise MfalError(f"id {name} wasn't asked in this batch", "keep the ids of the template")


def _answer(line: _Line, request: Request, file: str) -> ReturnedAnswer:
    cells = line.cells
    kind = quantity(request.measurement)
    if cells["formula"] and not _same_compound(cells["formula"], request.formula):
        raise MfalError(
            f"formula {cells['formula']}, but {request.id} is {request.formula}",
            "measure what was asked; what a sample held beside it may stand in the note",
        )
    if cells["measurement"] and cells["measurement"] != request.measurement:
        raise MfalError(
            f"measurement {cells['measurement']}, but {request.measurement} was asked",
            "keep the template's measurement",
        )
    status = cells["status"].lower() or "ok"
    if status not in STATUSES:
        raise MfalError(f"status {cells['status']!r}", f"use {', '.join(STATUSES)}")
    where = f"{file} {line.where}"
    if status != "ok":
        if cells["value"]:
            raise MfalError(f"status {status} with a value", "leave one of the two out")
        return ReturnedAnswer(
            request.id, status, None, None, "exact", kind.answer, cells["note"], where
        )
    if not cells["value"]:
        raise MfalError("status ok without a value", "give the value, or failed or abandoned")
    reading = parse_reading(cells["value"], cells["uncertainty"], cells["unit"] or kind.asked, kind)
    notes = [cells["note"]]
    stated = cells["conditions"]
    if stated not in ("", request.conditions or kind.conditions):
        notes.append(f"conditions: {stated}")
    if kind.temperature is not None:
        asked = parse_conditions(request.conditions).temperature or kind.temperature
        value, note = to_temperature(reading.value, parse_conditions(stated), asked)
        reading = reading._replace(value=value)
        notes.append(note)
    return _taken(request, reading, "; ".join(filter(None, notes)), where)


def _taken(request: Request, reading: Reading, note: str, where: str) -> ReturnedAnswer:
    unit = quantity(request.measurement).answer
    return ReturnedAnswer(request.id, "ok", *reading, unit, note, where)


def _same_compound(first: str, second: str) -> bool:
    """Whether two formulas hold the same elements in the same proportion."""
    try:
        ours, theirs = formula_amounts(first), formula_amounts(second)
    except MfalError:
        return False
    if set(ours) != set(theirs):
        return False
    scale = sum(theirs.values()) / sum(ours.values())
    return all(math.isclose(ours[e] * scale, theirs[e], rel_tol=SAME) for e in ours)


def _is_blank(line: _Line) -> bool:
    return not any(line.cells[column] for column in ("status", "value", "uncertainty"))


def _table(path: Path) -> list[_Line]:
    try:
        data = read_bytes(path)
    except MfalError as error:
        raise MfalError(f"{path} {error.what}", "give the filled answers.csv") from error
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise MfalError(f"{path}: a workbook, not a table of text", "save it as CSV from there")
    text = text_of_bytes(data)
    if "\0" in text:
        raise MfalError(f"{path}: not a text file", "save the table as CSV")
    if not text.strip():
        raise MfalError(f"{path}: empty", "give the filled answers.csv")
    try:
        return list(_lines(path, text))
    except csv.Error as error:
        raise MfalError(f"{path}: not a table ({error})", "save it as CSV again") from error


def _lines(path: Path, text: str) -> Iterator[_Line]:
    first, separator = _beginning(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for _ in range(first):
        next(reader)
    header = [cell.strip().lower() for cell in next(reader)]
    required = {"id", "value"}
    lacking = sorted(required - set(header))
    named = [cell for cell in header if cell]  # spreadsheets may add empty columns
    strange = [cell for cell in named if cell not in COLUMNS]
    if lacking or strange or len(set(named)) < len(named):
        raise MfalError(
            f"{path}: line {reader.line_num} should name the columns, but "
            + (f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(strange or header)}"),
            f"keep the template's first line: {','.join(COLUMNS)}",
        )
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"line {reader.line_num}"
        # Even an empty cell too many may mean that a decimal comma has split a number in two.
        beyond = len(cells) > len(header)
        excess = f"{len(cells)} cells under {len(header)} columns" if beyond else ""
        padded = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        by_name = dict(zip(header, padded[: len(header)], strict=True))
        yield _Line(where, {column: by_name.get(column, "") for column in COLUMNS}, excess)


def _beginning(text: str) -> tuple[int, str]:
    """Number of the lines before the one with the columns' names, and what separates its cells."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        # Excel's own first line that names the separator, and empty ones, which it fills with them.
        if line.strip(" ,;\t") and not line.strip().lower().startswith("sep="):
            return number, max(",;\t", key=line.count)
    return 0, ","


def _run_file(folder: Path, request: Request) -> Path | None:
    home = confined(folder, request.id)
    for name in RUNS:
        path = home / name
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise MfalError(f"{path}: leads out of {folder}", "copy the file instead")
            return path
    return None


def _vasp_answer(path: Path, request: Request) -> ReturnedAnswer:
    from pymatgen.io.vasp.outputs import Vasprun

    readers: dict[str, Callable[[Vasprun], float]] = {
        "total_energy": lambda run: float(run.final_energy) / len(run.final_structure),
        "band_gap": lambda run: float(cast(float, run.eigenvalue_band_properties[0])),
    }
    kind = quantity(request.measurement)
    if request.measurement not in readers:
        raise MfalError(
            f"a VASP run doesn't hold the {request.measurement}", "write it into answers.csv"
        )
    if path.stat().st_size > LARGEST_RUN:
        raise MfalError(f"{path.name}: larger than 1 GiB", "give the relaxation's last run")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Vasprun(path, parse_dos=False, parse_potcar_file=False, exception_on_bad_xml=True)
            found = run.final_structure.composition.reduced_formula
            converged = bool(run.converged)
            value = readers[request.measurement](run)
    except Exception as error:  # the parser raises whatever it stumbles over
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise MfalError(
            f"{path.name} is damaged or unfinished ({reason})", "run VASP again, or write failed"
        ) from error
    if not _same_compound(found, request.formula):
        raise MfalError(f"{path.name} is of {found}, not {request.formula}", "swap the folders")
    where = f"{request.id}/{path.name}"
    if not converged:
        note = "the VASP run did not converge"
        return ReturnedAnswer(request.id, "failed", None, None, "exact", kind.answer, note, where)
    reading = Reading(convert(value, kind.asked, kind), None, "exact")
    return _taken(request, reading, f"VASP {run.vasp_version}", where)
