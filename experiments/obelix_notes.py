"""What is noted of OBELiX' CIFs when they are read, and where they contradict their rows.

    python experiments/obelix_notes.py --data OBELIX [--out results]

Prints a line for each file with a note, and how often each kind occurs. Writes
`obelix_notes.json`.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from mfal.crystals import notes_of, read_structure
from mfal.data import load_obelix
from mfal.errors import MfalError

KINDS = {
    "charge": "carries a charge",
    "row's formula": "the table's formula",
    "own formula": "the file's formula",
    "contact": "apart",
    "split": "taken as one atom",
    "density": "density",
    "group": "the file's group",
    "vacuum": "vacuum",
    "oxidation": "no oxidation states",
}
"""A word that a note of each kind has."""


def main() -> None:
    """Read all files and print what is noted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX' folder")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    rows = {row.id.removeprefix("obelix-"): row for row in load_obelix(options.data)}
    found: dict[str, list[str]] = {}
    files = sorted(options.data.glob("*cifs/*.cif"))
    for path in files:
        row = rows.get(path.stem)
        notes = [str(note) for note in row.details.get("notes", ())] if row else []
        try:
            notes += notes_of(read_structure(path))
        except MfalError as error:
            notes.append(f"refused: {error.what}")
        if notes:
            found[path.stem] = notes
            print(f"{path.stem}  {row.formula if row else '?':<30}  {'; '.join(notes)}")
    counts = Counter(
        kind
        for notes in found.values()
        for kind, word in KINDS.items()
        if any(word in note for note in notes)
    )
    print(f"\n{len(files)} files, {len(found)} with notes")
    for kind, count in counts.most_common():
        print(f"{count:4}  {kind}")
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"files": len(files), "notes": found, "counts": dict(counts)}
    (options.out / "obelix_notes.json").write_text(json.dumps(record, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
