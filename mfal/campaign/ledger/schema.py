"""Tables of the ledger, and the steps from each version of them to the next.

`PRAGMA user_version` holds the version. `MIGRATIONS[v]` takes a ledger from version v to v + 1;
published steps are never edited, only followed by new ones.

Tables are append only: triggers refuse to change or delete a row. Two derived tables are the
exception: `tally` holds sums and `pending` the queries without an end, both kept up to date by
triggers, so that a ledger of any length answers "what has been spent, what is open" at once.
"""

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA_VERSION"]

APPLICATION_ID = 0x6D66616C
"""Marks an SQLite file as a ledger of mfal ("mfal" in ASCII)."""

_TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE crystal (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    formula TEXT NOT NULL,
    composition TEXT NOT NULL,
    space_group INTEGER NOT NULL,
    lattice TEXT NOT NULL,
    oxidation_states TEXT NOT NULL,
    source TEXT NOT NULL,
    structure TEXT
) STRICT;

CREATE TABLE round (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    number INTEGER NOT NULL,
    detail TEXT NOT NULL,
    time REAL NOT NULL,
    UNIQUE (account, number)
) STRICT;

CREATE TABLE query (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL,
    account TEXT NOT NULL,
    round INTEGER NOT NULL,
    crystal INTEGER NOT NULL REFERENCES crystal (id),
    fidelity INTEGER NOT NULL,
    oracle TEXT NOT NULL,
    oracle_version TEXT NOT NULL,
    cost REAL NOT NULL CHECK (cost >= 0),
    structures INTEGER NOT NULL CHECK (structures > 0),
    seed INTEGER NOT NULL,
    predicted TEXT NOT NULL,
    code_version TEXT NOT NULL,
    time REAL NOT NULL,
    UNIQUE (account, hash)
) STRICT;
CREATE INDEX query_by_crystal ON query (crystal);
CREATE INDEX query_by_account ON query (account, id);
CREATE INDEX query_by_round ON query (account, round);

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    query INTEGER NOT NULL REFERENCES query (id),
    kind TEXT NOT NULL CHECK (kind IN ('submitted', 'observed', 'failed', 'abandoned')),
    account TEXT NOT NULL,
    fidelity INTEGER NOT NULL,
    value REAL,
    spread REAL,
    seconds REAL,
    detail TEXT NOT NULL,
    code_version TEXT NOT NULL,
    time REAL NOT NULL,
    CHECK ((kind = 'observed') = (value IS NOT NULL))
) STRICT;
-- A query ends once: this is what makes it impossible to pay twice.
CREATE UNIQUE INDEX one_ending ON event (query)
    WHERE kind IN ('observed', 'failed', 'abandoned');
CREATE INDEX event_by_value ON event (account, fidelity, value) WHERE kind = 'observed';

CREATE TABLE tally (
    account TEXT NOT NULL,
    fidelity INTEGER NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (account, fidelity, kind)
) STRICT;

CREATE TABLE pending (
    query INTEGER PRIMARY KEY REFERENCES query (id)
) STRICT;

CREATE TRIGGER query_counted AFTER INSERT ON query BEGIN
    INSERT INTO pending VALUES (new.id);
    INSERT INTO tally VALUES (new.account, new.fidelity, 'proposed', 1, new.cost)
    ON CONFLICT DO UPDATE SET number = number + 1, cost = cost + new.cost;
END;
CREATE TRIGGER event_counted AFTER INSERT ON event WHEN new.kind != 'submitted' BEGIN
    DELETE FROM pending WHERE query = new.query;
    INSERT INTO tally
    SELECT account, fidelity, new.kind, 1, cost FROM query WHERE id = new.query
    ON CONFLICT DO UPDATE SET number = number + 1, cost = cost + excluded.cost;
END;
"""


def _append_only(table: str) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} BEGIN\n"
        f"    SELECT RAISE (ABORT, '{table} is append only');\nEND;\n"
        for verb in ("UPDATE", "DELETE")
    )


_VERSION_1 = _TABLES + "".join(
    _append_only(table) for table in ("meta", "crystal", "round", "query", "event")
)

# `basis` says what a decision rests on, and is written before the decision is made: the last event
# and the last query that it may see. A decision lost in a kill is made again from the same rows,
# whatever has been answered since.
_VERSION_2 = """
ALTER TABLE query ADD COLUMN parents TEXT NOT NULL DEFAULT '[]';

CREATE TABLE basis (
    account TEXT NOT NULL,
    round INTEGER NOT NULL,
    event INTEGER NOT NULL,
    query INTEGER NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (account, round)
) STRICT;
""" + _append_only("basis")

# What the campaign itself computes to decide a round: nominal CPU seconds, which count against the
# budget as a query's do, and those that it really took. Nothing that decides reads the latter.
_VERSION_3 = """
CREATE TABLE thought (
    account TEXT NOT NULL,
    round INTEGER NOT NULL,
    cost REAL NOT NULL CHECK (cost >= 0),
    seconds REAL NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (account, round)
) STRICT;
ALTER TABLE tally ADD COLUMN seconds REAL NOT NULL DEFAULT 0.0;
DROP TRIGGER query_counted;
DROP TRIGGER event_counted;
CREATE TRIGGER query_counted AFTER INSERT ON query BEGIN
    INSERT INTO pending VALUES (new.id);
    INSERT INTO tally VALUES (new.account, new.fidelity, 'proposed', 1, new.cost, 0.0)
    ON CONFLICT DO UPDATE SET number = number + 1, cost = cost + new.cost;
END;
CREATE TRIGGER event_counted AFTER INSERT ON event WHEN new.kind != 'submitted' BEGIN
    DELETE FROM pending WHERE query = new.query;
    INSERT INTO tally SELECT account, fidelity, new.kind, 1, cost, coalesce(new.seconds, 0.0)
    FROM query WHERE id = new.query
    ON CONFLICT DO UPDATE SET number = number + 1, cost = cost + excluded.cost,
    seconds = seconds + excluded.seconds;
END;
CREATE TRIGGER thought_counted AFTER INSERT ON thought BEGIN
    INSERT INTO tally VALUES (new.account, -1, 'decided', 1, new.cost, new.seconds)
    ON CONFLICT DO UPDATE SET number = number + 1, cost = cost + excluded.cost,
    seconds = seconds + excluded.seconds;
END;
""" + _append_only("thought")

MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2, _VERSION_3)
SCHEMA_VERSION = len(MIGRATIONS)
