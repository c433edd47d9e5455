"""Structures from the Materials Project through its own client, `mp-api`.

Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323; data under CC BY 4.0. The
client needs a key (MP_API_KEY). Pages are kept as they come, so that a broken fetch goes on where
it stopped.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from mfal.crystals.elements import atomic_number
from mfal.data.pages import Fetched, Page, PageStore, collect_pages
from mfal.data.rows import material_from_structure
from mfal.data.table import Material
from mfal.errors import MfalError

__all__ = ["fetch_materials_project"]

SOURCE = "The Materials Project, doi:10.1063/1.4812323"
LICENCE = "CC BY 4.0, The Materials Project"
FIELDS = [
    *("material_id", "formula_pretty", "structure", "energy_above_hull"),
    *("formation_energy_per_atom", "band_gap", "theoretical", "deprecated"),
]
DETAILS = {
    "energy_above_hull": "hull_eV_per_atom",
    "formation_energy_per_atom": "formation_eV_per_atom",
    "band_gap": "gap_eV",
    "theoretical": "theoretical",
}
PAUSE = 0.2
"""Seconds between pages: the service asks for at most 25 questions a second."""
KEY_LENGTH = 32


def fetch_materials_project(
    elements: Sequence[str],
    *,
    max_hull: float | None = None,
    max_sites: int = 200,
    limit: int | None = None,
    page_size: int = 500,
    pause: float = PAUSE,
    refresh: bool = False,
    endpoint: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """All materials that contain the given elements, those of the GNoME set left out.

    Args:
      elements: symbols that must all occur ("Li", "O").
      max_hull: greatest distance from the convex hull, eV per atom.
      max_sites: structures with more atoms in their cell are left out.
      limit: stop after so many.
      page_size: materials asked for at a time, up to 1000.
      pause: seconds between pages.
      refresh: ask again, although the answer is in the cache.
      endpoint: URL of another server of the same interface; that in MP_API_ENDPOINT, the client's
        own variable, if left out.
      progress: called with the materials so far; the total isn't told (None).

    Returns:
      The table, without labels, and what was left out. Oxidation states are not assigned.

    Raises:
      MfalError: without the client, a key or the network, or when the server refuses. What was
        fetched so far is kept.
    """
    for symbol in elements:
        atomic_number(symbol)
    if not elements:
        raise MfalError("no elements to look for", "name at least one, such as Li")
    endpoint = endpoint or os.environ.get("MP_API_ENDPOINT")
    query: dict[str, Any] = {
        "elements": sorted(set(elements)),
        "num_sites": (1, max_sites),
        "include_gnome": False,
    }
    if max_hull is not None:
        query["energy_above_hull"] = (0.0, max_hull)
    store = PageStore("materials-project", {**query, "page_size": page_size, "endpoint": endpoint})
    if refresh:
        store.clear()
    pages = list(store.pages())
    from_cache = bool(pages) and pages[-1].next is None
    client: Any = None
    while not (pages and pages[-1].next is None):
        if limit is not None and sum(len(page.rows) for page in pages) >= limit:
            break
        if client is None:
            client = _client(endpoint)
        else:
            time.sleep(pause)
        number = len(pages) + 1
        page = _page(_search(client, query, number, page_size, kept=len(pages)), number, page_size)
        store.add(number, page)
        pages.append(page)
        if progress is not None:
            progress(sum(len(p.rows) + sum(p.skipped.values()) for p in pages), None)
    return collect_pages(pages, from_cache, limit)


def _client(endpoint: str | None) -> Any:
    try:
        from mp_api.client import MPRester
    except ImportError:
        raise MfalError(
            "the Materials Project needs the package mp-api",
            "pip install 'mfal[mp]', or use OPTIMADE: --provider mp",
        ) from None
    key = os.environ.get("MP_API_KEY", "")
    if len(key) != KEY_LENGTH:
        state = "is not set" if not key else f"has {len(key)} characters, keys have {KEY_LENGTH}"
        raise MfalError(
            f"MP_API_KEY {state}", "get a key at materialsproject.org/api, or use --provider mp"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MPRester(
                key, endpoint=endpoint, use_document_model=False, mute_progress_bars=True
            )
    except Exception as error:  # the client raises what its HTTP library or parser raises
        raise MfalError(
            f"the Materials Project cannot be reached ({_short(error)})", "check the network"
        ) from None


def _search(client: Any, query: dict[str, Any], number: int, size: int, kept: int) -> list[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = client.materials.summary.search(
                **query, fields=FIELDS, chunk_size=size, _page=number, _sort_fields="material_id"
            )
    except Exception as error:  # as above
        raise MfalError(
            f"the Materials Project broke off ({_short(error)})",
            f"run the same command again to go on ({kept} pages are kept)",
        ) from None
    return list(found)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _page(documents: list[Any], number: int, size: int) -> Page:
    rows: list[Material] = []
    skipped: dict[str, int] = {}
    for document in documents:
        try:
            rows.append(_material(document))
        except (KeyError, TypeError, ValueError, AttributeError, MfalError) as error:
            reason = "no symmetry found" if isinstance(error, MfalError) else "malformed"
            skipped[reason] = skipped.get(reason, 0) + 1
    more = str(number + 1) if len(documents) >= size else None
    return Page(tuple(rows), skipped, more)


def _material(document: Any) -> Material:
    from pymatgen.core import Structure

    identifier = str(document["material_id"])
    structure = document["structure"]
    if not isinstance(structure, Structure):
        structure = Structure.from_dict(structure)
    details = {
        name: document[field] for field, name in DETAILS.items() if document.get(field) is not None
    }
    structure.remove_oxidation_states()
    return material_from_structure(
        identifier,
        structure,
        charged=False,
        formula=str(document["formula_pretty"]),
        source=f"{SOURCE}, {identifier}",
        licence=LICENCE,
        group=str(document["formula_pretty"]),
        details={**details, "kind": "dft"},
    )
