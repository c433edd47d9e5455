"""Structures from any OPTIMADE server: Materials Project, COD, OQMD, Alexandria, your own.

The standard: Andersen et al., Scientific Data 8, 217 (2021), doi:10.1038/s41597-021-00974-z. A
query is read page by page, each page is kept (`mfal.data.pages`), and a broken fetch goes on where
it stopped when the same query is made again.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mfal.crystals.elements import atomic_number
from mfal.data.pages import Fetched, Page, PageStore, collect_pages
from mfal.data.rows import composition_of_formula, material_from_structure
from mfal.data.table import Material
from mfal.errors import MfalError

__all__ = ["PROVIDERS", "Provider", "fetch_optimade"]


class Provider(NamedTuple):
    """A server and how to cite it."""

    url: str
    source: str
    licence: str
    hull_field: str = ""
    """Property that holds the distance from the convex hull, eV per atom; empty if there's none."""


PROVIDERS: Mapping[str, Provider] = {
    "mp": Provider(
        "https://optimade.materialsproject.org",
        "The Materials Project, doi:10.1063/1.4812323",
        "CC BY 4.0, The Materials Project",
    ),
    "cod": Provider(
        "https://www.crystallography.net/cod/optimade",
        "Crystallography Open Database, doi:10.1093/nar/gkr900",
        "public domain",
    ),
    "oqmd": Provider(
        "https://oqmd.org/optimade",
        "The Open Quantum Materials Database, doi:10.1038/npjcompumats.2015.10",
        "CC BY 4.0, OQMD",
        "_oqmd_stability",
    ),
    "alexandria": Provider(
        "https://alexandria.icams.rub.de/pbe",
        "Alexandria, doi:10.1002/adma.202210788",
        "CC BY 4.0, Alexandria",
        "_alexandria_hull_distance",
    ),
}
FIELDS = (
    *("chemical_formula_reduced", "lattice_vectors", "cartesian_site_positions"),
    *("species", "species_at_sites", "nsites", "structure_features", "last_modified"),
)
TIMEOUT = 60.0
"""Seconds that a server may be silent."""
ATTEMPTS = 5
"""Tries of one page before the fetch gives up."""
PAUSE = 0.5
"""Seconds between pages."""
CLASH = 0.5
"""Å, nearer than which no two atoms are."""
LONGEST_WAIT = 60.0
LARGEST_PAGE = 64 * 2**20
"""Bytes."""
RETRIED = (408, 425, 429, 500, 502, 503, 504)
"""HTTP answers that may be better next time."""


def fetch_optimade(
    elements: Sequence[str],
    provider: str = "mp",
    *,
    max_hull: float | None = None,
    hull_field: str = "",
    max_sites: int = 200,
    limit: int | None = None,
    page_size: int = 100,
    pause: float = PAUSE,
    refresh: bool = False,
    where: str = "",
    progress: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """All structures of a server that contain the given elements, or that a filter lets through.

    Args:
      elements: symbols that must all occur ("Li", "O").
      provider: a key of `PROVIDERS`, or the base URL of a server.
      max_hull: greatest distance from the convex hull, eV per atom; only where the server knows it.
      hull_field: the property that holds it, for a server given by URL.
      max_sites: structures with more atoms in their cell are left out.
      limit: stop after so many.
      page_size: entries asked for at a time.
      pause: seconds between pages.
      refresh: ask again, although the answer is in the cache.
      where: a filter in OPTIMADE's language, beside the elements or in their place.
      progress: called with the entries so far and their total, where the server tells it.

    Returns:
      The table, without labels, and what was left out. Oxidation states are not assigned.

    Raises:
      MfalError: when the server can't be reached, refuses the query, or sends what is no OPTIMADE.
        What was fetched so far is kept.
    """
    server = PROVIDERS.get(provider) or _own_server(provider, hull_field)
    for symbol in elements:
        atomic_number(symbol)
    if not (elements or where):
        raise MfalError("no elements to look for", "name at least one, such as Li")
    if max_hull is not None and not server.hull_field:
        raise MfalError(
            f"{provider} doesn't tell the distance from the hull",
            "leave --max-hull out, or use mp-api, oqmd or alexandria",
        )
    url = _query_url(server, elements, max_hull, max_sites, page_size, where)
    store = PageStore("optimade", {"url": url})
    if refresh:
        store.clear()
    pages = list(store.pages())
    from_cache = bool(pages) and pages[-1].next is None
    if pages and pages[-1].next:
        url = pages[-1].next
    seen = {page.next for page in pages}
    while not (pages and pages[-1].next is None):
        if limit is not None and sum(len(page.rows) for page in pages) >= limit:
            break
        if pages:
            time.sleep(pause)
        data = _get(url, kept=len(pages))
        page = _read(data, server, url)
        if page.next in seen:
            raise MfalError(f"{server.url} sends its pages in a circle", "tell its maintainers")
        store.add(len(pages) + 1, page)
        pages.append(page)
        seen.add(page.next)
        url = page.next or url
        if progress is not None:
            total = (data.get("meta") or {}).get("data_returned")
            progress(sum(len(p.rows) + sum(p.skipped.values()) for p in pages), total)
    return collect_pages(pages, from_cache, limit)


def _own_server(url: str, hull_field: str) -> Provider:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        known = ", ".join(PROVIDERS)
        raise MfalError(
            f"provider {url!r}", f"give one of {known}, or a URL with http:// or https://"
        )
    return Provider(
        url.rstrip("/"), f"OPTIMADE server {parts.hostname}", "see the server", hull_field
    )


def _query_url(
    server: Provider,
    elements: Sequence[str],
    max_hull: float | None,
    max_sites: int,
    size: int,
    where: str,
) -> str:
    quoted = ",".join(f'"{symbol}"' for symbol in sorted(set(elements)))
    terms = [f"elements HAS ALL {quoted}"] if elements else []
    terms += [f"({where})"] if where else []
    terms += [f"nsites<={max_sites}"]
    if max_hull is not None:
        terms.append(f"{server.hull_field}<={max_hull:g}")
    fields = [*FIELDS, *([server.hull_field] if server.hull_field else [])]
    query = {
        "filter": " AND ".join(terms),
        "response_fields": ",".join(fields),
        "page_limit": str(size),
    }
    return f"{server.url}/v1/structures?{urllib.parse.urlencode(query)}"


def _get(url: str, kept: int) -> dict[str, Any]:
    """The JSON object behind a URL, tried several times."""
    host = urllib.parse.urlsplit(url).hostname
    again = f"run the same command again to go on ({kept} pages are kept)"
    problem, wait = "", 0.0
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(LONGEST_WAIT, max(wait, 0.2 * 2**attempt)))
        try:
            request = urllib.request.Request(url, headers={"Accept": "application/vnd.api+json"})
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                body = answer.read(LARGEST_PAGE + 1)
        except urllib.error.HTTPError as error:
            problem = _refusal(error)
            if error.code not in RETRIED:
                raise MfalError(f"{host} refuses the query ({problem})", "change it") from None
            wait = _seconds(error.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException) as error:
            wait = 0.0
            problem = str(getattr(error, "reason", "") or error or type(error).__name__)
        else:
            if len(body) > LARGEST_PAGE:
                raise MfalError(f"{host} sent a page over 64 MB", "ask for a smaller page_size")
            try:
                data = json.loads(body)
            except (ValueError, RecursionError):
                problem = "its answer was cut short or is no JSON"
                continue
            if not isinstance(data, dict) or not isinstance(data.get("data"), list):
                raise MfalError(f"{host} does not speak OPTIMADE", "check the base URL") from None
            return data
    raise MfalError(f"{host} cannot be reached ({problem})", f"check the network; {again}")


def _refusal(error: urllib.error.HTTPError) -> str:
    """What the server says is wrong."""
    try:
        said = json.loads(error.read(LARGEST_PAGE))["errors"][0]["detail"]
        return f"{error.code}: {str(said).splitlines()[0][:200]}"
    except (ValueError, KeyError, IndexError, TypeError, OSError, RecursionError):
        return f"{error.code} {error.reason}"


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def _read(data: dict[str, Any], server: Provider, url: str) -> Page:
    rows = []
    skipped: dict[str, int] = {}
    for entry in data["data"]:
        try:
            rows.append(_material(entry, server))
        except _SkippedError as reason:
            skipped[str(reason)] = skipped.get(str(reason), 0) + 1
    link = (data.get("links") or {}).get("next")
    if isinstance(link, dict):
        link = link.get("href")
    return Page(tuple(rows), skipped, _checked(link, url) if link else None)


def _checked(link: str, url: str) -> str:
    """The next page's URL, by the scheme and at the host that was asked."""
    here = urllib.parse.urlsplit(url)
    there = urllib.parse.urlsplit(urllib.parse.urljoin(url, link))
    if there.hostname != here.hostname:
        raise MfalError(
            f"{here.hostname} points to another host, {there.hostname}", "ask that one directly"
        )
    return there._replace(scheme=here.scheme, netloc=here.netloc).geturl()


class _SkippedError(Exception):
    """Why an entry can't be used."""


def _material(entry: Any, server: Provider) -> Material:
    try:
        identifier, attributes = str(entry["id"]), entry["attributes"]
        structure = _structure(attributes)
    except (KeyError, TypeError, ValueError, IndexError):
        raise _SkippedError("malformed") from None
    if structure.is_ordered and not structure.is_valid(CLASH):
        raise _SkippedError("atoms on top of each other")
    details: dict[str, Any] = {}
    hull = attributes.get(server.hull_field) if server.hull_field else None
    if isinstance(hull, int | float):
        details["hull_eV_per_atom"] = float(hull)
    columns: dict[str, Any] = {
        "source": f"{server.source}, {identifier}",
        "licence": server.licence,
        "details": details,
    }
    try:
        row = material_from_structure(identifier, structure, charged=False, **columns)
        return row._replace(group=row.formula)
    except MfalError:
        raise _SkippedError("no symmetry found") from None


def _structure(attributes: Mapping[str, Any]) -> Any:
    from pymatgen.core import Composition, Structure

    positions = attributes.get("cartesian_site_positions")
    if not positions or not attributes.get("lattice_vectors"):
        formula = attributes.get("chemical_formula_reduced") or ""
        composition_of_formula(formula, "entry")
        raise _SkippedError("no positions")
    fillings = {}
    for species in attributes["species"]:
        amounts = dict(zip(species["chemical_symbols"], species["concentration"], strict=True))
        amounts.pop("vacancy", None)
        if "X" in amounts:
            raise _SkippedError("unknown element")
        fillings[species["name"]] = Composition(amounts)
    sites = [fillings[name] for name in attributes["species_at_sites"]]
    if any(x is None for vector in [*positions, *attributes["lattice_vectors"]] for x in vector):
        raise _SkippedError("no positions")
    filled = [(site, xyz) for site, xyz in zip(sites, positions, strict=True) if site]
    return Structure(
        attributes["lattice_vectors"],
        [site for site, _ in filled],
        [xyz for _, xyz in filled],
        coords_are_cartesian=True,
        to_unit_cell=True,
    )
