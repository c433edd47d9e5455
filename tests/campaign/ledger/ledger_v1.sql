-- A campaign's ledger as schema 1 left it: two of four initial queries answered.
PRAGMA application_id = 1835426156;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "crystal" VALUES(1,'332533114523b1f8408d76fbb37a5b98','Li1O','{"Li": 1, "O": 1}',1,'[3.0, 3.0, 3.0, 90.0, 90.0, 90.0]','{"Li": 1.0, "O": -2.0}','known:toy','{}');
INSERT INTO "crystal" VALUES(2,'864e4d759173333b53e89baf3934d2d5','Li2O','{"Li": 2, "O": 1}',1,'[3.0, 3.0, 3.0, 90.0, 90.0, 90.0]','{"Li": 1.0, "O": -2.0}','known:toy','{}');
INSERT INTO "crystal" VALUES(3,'f0b3c15d3fa7d1d5f74aa636009edf6e','Li3O','{"Li": 3, "O": 1}',1,'[3.0, 3.0, 3.0, 90.0, 90.0, 90.0]','{"Li": 1.0, "O": -2.0}','known:toy','{}');
INSERT INTO "crystal" VALUES(4,'ee8152ea9f0c0b1102475143aebba3a1','Li4O','{"Li": 4, "O": 1}',1,'[3.0, 3.0, 3.0, 90.0, 90.0, 90.0]','{"Li": 1.0, "O": -2.0}','known:toy','{}');
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
INSERT INTO "event" VALUES(1,1,'submitted','campaign',0,NULL,NULL,NULL,'{}','0.1',1700000002.0);
INSERT INTO "event" VALUES(2,1,'observed','campaign',0,-7.75397622789535723164e-01,2.58465874263178574388e-01,0.0,'{"status": "ok", "answers": [-0.7753976227895357]}','0.1',1700000003.0);
INSERT INTO "event" VALUES(3,2,'submitted','campaign',1,NULL,NULL,NULL,'{}','0.1',1700000002.0);
INSERT INTO "event" VALUES(4,2,'observed','campaign',1,3.93025641721834628761e-01,1.31008547240611533668e-01,0.0,'{"status": "ok", "answers": [0.39302564172183463]}','0.1',1700000003.0);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
INSERT INTO "meta" VALUES('config','{"budget": 16.0, "seed": 0, "rounds": 3, "initial": 24, "realisations": 3, "batch": 16, "exploit": 0.5, "guard": true, "baseline": true, "oracles": ["toy_campaign:oracles"], "space": {"elements": ["Li", "B", "N", "O", "F", "Mg", "Al", "Si", "P", "S", "Cl", "Ti", "Ge", "Y", "Zr", "Br"], "min_elements": 2, "max_elements": 4, "min_atoms": 4, "max_atoms": 36, "groups": [14, 15, 31, 33, 36, 61, 62, 63, 82, 121, 122, 129, 136, 137, 139, 141, 148, 150, 161, 162, 164, 166, 167, 185, 186, 191, 194, 205, 206, 215, 216, 217, 221, 225, 227, 230], "min_length": 2.6, "max_length": 20.0, "max_aspect": 4.0, "min_angle": 60.0, "max_angle": 120.0, "min_packing": 1.2, "max_packing": 1.9}, "proxy": {"members": 8, "width": 64, "steps": 400, "capacity": 512}, "sampler": {"steps": 300, "batch": 32, "width": 128, "samples": 256, "learning_rate": 0.001, "sharpness": 2.0}, "execution": {"workers": 2, "timeout": 120.0, "retries": 1, "memory": 4.0}}');
INSERT INTO "meta" VALUES('oracles','[{"name": "cheap", "version": "1", "unit": "share", "cost": 0.25, "higher_is_better": true}, {"name": "dear", "version": "1", "unit": "share", "cost": 1.0, "higher_is_better": true}]');
CREATE TABLE pending (
    query INTEGER PRIMARY KEY REFERENCES query (id)
) STRICT;
INSERT INTO "pending" VALUES(3);
INSERT INTO "pending" VALUES(4);
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
INSERT INTO "query" VALUES(1,'143100da4cfc1fac0004a4b028426f94','campaign',0,1,0,'cheap','1',0.25,1,429037960,'{}','0.1',1700000001.0);
INSERT INTO "query" VALUES(2,'8b8a60e45aba2a9c2f6069ac5e8cdf49','campaign',0,2,1,'dear','1',1.0,1,1126639290,'{}','0.1',1700000001.0);
INSERT INTO "query" VALUES(3,'56f80462e467975f6f4788185cd2a8ef','campaign',0,3,0,'cheap','1',0.25,1,2019156142,'{}','0.1',1700000001.0);
INSERT INTO "query" VALUES(4,'e31de2328b377d7cf32ae4ef1750a587','campaign',0,4,1,'dear','1',1.0,1,2000726389,'{}','0.1',1700000001.0);
CREATE TABLE round (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    number INTEGER NOT NULL,
    detail TEXT NOT NULL,
    time REAL NOT NULL,
    UNIQUE (account, number)
) STRICT;
INSERT INTO "round" VALUES(1,'campaign',0,'{}',1700000000.0);
CREATE TABLE tally (
    account TEXT NOT NULL,
    fidelity INTEGER NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (account, fidelity, kind)
) STRICT;
INSERT INTO "tally" VALUES('campaign',0,'proposed',2,0.5);
INSERT INTO "tally" VALUES('campaign',1,'proposed',2,2.0);
INSERT INTO "tally" VALUES('campaign',0,'observed',1,0.25);
INSERT INTO "tally" VALUES('campaign',1,'observed',1,1.0);
CREATE INDEX query_by_crystal ON query (crystal);
CREATE INDEX query_by_account ON query (account, id);
CREATE INDEX query_by_round ON query (account, round);
CREATE UNIQUE INDEX one_ending ON event (query)
    WHERE kind IN ('observed', 'failed', 'abandoned');
CREATE INDEX event_by_value ON event (account, fidelity, value) WHERE kind = 'observed';
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
CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta BEGIN
    SELECT RAISE (ABORT, 'meta is append only');
END;
CREATE TRIGGER meta_no_delete BEFORE DELETE ON meta BEGIN
    SELECT RAISE (ABORT, 'meta is append only');
END;
CREATE TRIGGER crystal_no_update BEFORE UPDATE ON crystal BEGIN
    SELECT RAISE (ABORT, 'crystal is append only');
END;
CREATE TRIGGER crystal_no_delete BEFORE DELETE ON crystal BEGIN
    SELECT RAISE (ABORT, 'crystal is append only');
END;
CREATE TRIGGER round_no_update BEFORE UPDATE ON round BEGIN
    SELECT RAISE (ABORT, 'round is append only');
END;
CREATE TRIGGER round_no_delete BEFORE DELETE ON round BEGIN
    SELECT RAISE (ABORT, 'round is append only');
END;
CREATE TRIGGER query_no_update BEFORE UPDATE ON query BEGIN
    SELECT RAISE (ABORT, 'query is append only');
END;
CREATE TRIGGER query_no_delete BEFORE DELETE ON query BEGIN
    SELECT RAISE (ABORT, 'query is append only');
END;
CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN
    SELECT RAISE (ABORT, 'event is append only');
END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN
    SELECT RAISE (ABORT, 'event is append only');
END;
COMMIT;
