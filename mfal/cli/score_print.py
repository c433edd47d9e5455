"""How scores look: a table for each of a few structures, a line for each of many, or JSON."""

import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mfal.cli.console import make_console
from mfal.cli.score_progress import LongWork, RateColumn

__all__ = ["Printer"]

FEW = 20
"""Files up to which each structure gets a table of its own."""


_PERIOD = 600.0
"""Seconds over which rates are taken: a step of dynamics may be told twice a minute."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Printer:
    """Prints results as they come, with a bar on standard error; a context manager."""

    def __init__(self, as_json: bool, files: int) -> None:
        self.done = 0
        """Files scored."""
        self._json, self._files = as_json, files
        self._console = make_console()
        self._shown = self._failed = self._noted = 0
        self._terminal = make_console(stderr=True).is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), RateColumn(),
            TimeRemainingColumn(), console=make_console(stderr=True), transient=True,
            speed_estimate_period=_PERIOD, disable=not self._terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("scored", total=files, visible=files > 1)
        self._long = LongWork(self._progress if self._terminal else None, _say)
        self._open = False

    def __enter__(self) -> "Printer":
        self._progress.start()
        if self._json:
            print("[", end="", flush=True)
        self._open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def advance(self) -> None:
        """One more file is scored."""
        self.done += 1
        self._progress.advance(self._task)

    def report(self, what: str, done: int, total: int, note: str = "") -> None:
        """How far a long oracle is: a bar of its own, or without a terminal lines."""
        self._long.report(what, done, total, note)

    def close(self) -> None:
        """End the bar, and the JSON so that it is whole."""
        if not self._open:
            return
        self._open = False
        self._progress.stop()
        if self._json:
            print("\n]" if self._shown else "]", flush=True)

    def show(self, results: Sequence[dict[str, Any]]) -> None:
        """The results of one file."""
        for result in results:
            if self._json:
                text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
                print(f"{',' if self._shown else ''}\n{text}", end="", flush=True)
            elif self._files <= FEW:
                self._show_table(result)
            else:
                self._show_line(result)
            self._shown += 1
            failures = [a for a in result.get("oracles", ()) if a["status"] != "ok"]
            self._failed += bool("error" in result or failures)
            self._noted += bool(result.get("notes"))

    def summarise(self) -> None:
        """After many files, how they went."""
        self.close()
        if not self._json and self._files > FEW:
            self._console.print(
                f"{self._shown} structures, {self._failed} with failures, "
                f"{self._noted} with notes on the structure"
            )

    def _show_table(self, result: dict[str, Any]) -> None:
        console = self._console
        if "error" in result:
            console.print(Text(result["error"], style="red"), soft_wrap=True)
            return
        title = f"{result['file']}: {result['formula']}, space group {result['space_group']}"
        if "known_as" in result:
            known = f"known as {result['known_as']}" if result["known_as"] else "not known here"
            title = f"{title}, {known}"
        console.print(Text(title, style="bold"), soft_wrap=True)
        for note in result["notes"]:
            console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("oracle")
        table.add_column("value", justify="right")
        table.add_column("unit")
        table.add_column("note")
        for answer in result["oracles"]:
            failed = answer["status"] != "ok"
            note = answer["status"] if failed else "; ".join(_remarks(answer))
            table.add_row(
                answer["oracle"],
                _value(answer),
                answer["unit"],
                Text(note, style="red" if failed else ""),
            )
        console.print(table)
        console.print()

    def _show_line(self, result: dict[str, Any]) -> None:
        if "error" in result:
            self._console.print(Text(result["error"], style="red"), soft_wrap=True)
            return
        answers = [
            f"{a['oracle']} {'failed' if a['status'] != 'ok' else _value(a) + ' ' + a['unit']}"
            for a in result["oracles"]
        ]
        line = ", ".join([f"{result['formula']} ({result['space_group']})", *answers])
        reasons = [a["status"].removeprefix("failed: ") for a in result["oracles"]]
        reasons = [reason for reason in reasons if reason != "ok"]
        notes = "".join(f"; {note}" for note in dict.fromkeys([*reasons, *result["notes"]]))
        self._console.print(Text(f"{result['file']}: {line}{notes}"), soft_wrap=True)


def _value(answer: dict[str, Any]) -> str:
    if answer["value"] is None:
        return "–"
    value, spread = float(answer["value"]), answer["uncertainty"]
    if math.isinf(value):
        return "none"  # a barrier that no path has, or the conductivity across it
    sign = {"below": "< ", "above": "> "}.get(answer.get("censoring", ""), "")
    return f"{sign}{value:.4g}" + (f" ± {spread:.2g}" if spread else "")


def _remarks(answer: dict[str, Any]) -> list[str]:
    """What stands beside a value: barriers, conductivities, and the notes."""
    remarks = []
    if "barriers" in answer:
        parts = []
        for dimension, barrier in answer["barriers"].items():
            finite = math.isfinite(float(barrier))
            parts.append(f"{dimension} {barrier:.3f} eV" if finite else f"no {dimension} path")
        grid = answer.get("map_angstrom")
        remarks.append(", ".join(parts) + (f" on a {grid:g} Å map" if grid else ""))
    if values := [float(value) for value in answer.get("decorations", ())]:
        ends = f"{min(values):.3g} to {max(values):.3g} {answer['unit']}"
        remarks.append(f"{ends} over {len(values)} random occupations of the framework")
    if answer["unit"] == "log10 S/cm" and answer["value"] is not None:
        exponent = float(answer["value"])
        if -300 < exponent < 300:
            hot = f" at {answer['temperature']:g} K" if "temperature" in answer else ""
            limit = f"{answer['censoring']} " if "censoring" in answer else ""
            remarks.append(f"{limit}{10**exponent:.1e} S/cm{hot}")
    remarks += [said for said in answer.get("diffusion", ()) if said not in answer["notes"]]
    remarks += _stability_remarks(answer)
    if "expected_conductivity" in answer:
        remarks.append(f"expect {answer['expected_conductivity']['words']}")
    if answer.get("files"):
        remarks.append(f"wrote {', '.join(answer['files'])}")
    # A path that is not there stands among the barriers already.
    said = r"no [123]-D path" if "barriers" in answer else r"(?!)"
    return remarks + [note for note in answer["notes"] if not re.match(said, note)]


def _stability_remarks(answer: dict[str, Any]) -> list[str]:
    """What a structure would decompose to, its window, and what relaxing did to it."""
    remarks = []
    if hull := answer.get("hull"):
        products = " + ".join(
            f"{share:.2f} {formula}" if share < 0.995 else formula
            for formula, share in hull["decomposition"].items()
        )
        stable = answer["value"] is not None and float(answer["value"]) <= 0
        remarks.append(f"{'more stable than' if stable else 'decomposes to'} {products}")
        if "oxidation" in hull:
            remarks.append(f"window {hull['reduction']:.2f} to {hull['oxidation']:.2f} V")
    if change := answer.get("relaxation"):
        before, after = change["space_groups"]
        group = f"space group {before} kept" if before == after else f"group {before} to {after}"
        remarks.append(
            f"relaxed: volume {100 * change['volume_change']:+.1f} %, atoms moved "
            f"{change['shift']:.2f} Å, {group}"
        )
    return remarks
