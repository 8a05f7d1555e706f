-- The metadata of one store. Times are milliseconds since the epoch, digests and run ids lower-case hex.
-- Records that only Rust code looks into are JSON text beside the columns that are searched.

-- tracking -----------------------------------------------------------------------------------------
CREATE TABLE experiment (
    id                INTEGER PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    artifact_location TEXT NOT NULL,
    deleted           INTEGER NOT NULL DEFAULT 0,
    created           BIGINT NOT NULL,
    updated           BIGINT NOT NULL
);
CREATE TABLE experiment_tag (
    experiment INTEGER NOT NULL REFERENCES experiment(id),
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (experiment, key)
);

CREATE TABLE run (
    id         TEXT PRIMARY KEY,
    experiment INTEGER NOT NULL REFERENCES experiment(id),
    kind       TEXT NOT NULL,
    parent     TEXT,
    name       TEXT NOT NULL,
    step       TEXT,
    state      TEXT NOT NULL,
    user_name  TEXT NOT NULL,
    started    BIGINT NOT NULL,
    ended      BIGINT,
    deleted    INTEGER NOT NULL DEFAULT 0,
    detail     TEXT NOT NULL
);
-- A page of an experiment's runs is a walk along this index that stops when it is full.
CREATE INDEX run_by_experiment ON run (experiment, deleted, started DESC, id);
CREATE INDEX run_by_parent ON run (parent);
CREATE INDEX run_by_state ON run (state) WHERE state IN ('RUNNING', 'SCHEDULED');

-- What belongs to a run lies together, by run and key: one place to read, and no second tree to write.
-- `number` is a value that reads as a number, for searches that compare numbers; else it stays text.
-- (SQLite alone has WITHOUT ROWID and gives a generated column the type that its text looks like.)
CREATE TABLE run_param (
    run    TEXT NOT NULL REFERENCES run(id),
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    number REAL GENERATED ALWAYS AS (value) VIRTUAL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE run_tag (
    run   TEXT NOT NULL REFERENCES run(id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

-- What metrics were measured of and on, once each; 0 stands for none. An empty text was not said.
CREATE TABLE metric_context (
    id             INTEGER PRIMARY KEY,
    model          TEXT NOT NULL,
    dataset_name   TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    UNIQUE (model, dataset_name, dataset_digest)
);

-- The newest value of each metric stands apart from its series, so that neither a search nor a listing
-- ever reads a series. A series is chunks of packed points, each appended to until it is long enough;
-- they go by a number, so that a new series is at the end of the table and not in its midst.
CREATE TABLE metric_latest (
    series     INTEGER PRIMARY KEY,
    run        TEXT NOT NULL REFERENCES run(id),
    key        TEXT NOT NULL,
    experiment INTEGER,
    value      DOUBLE PRECISION NOT NULL,
    is_nan     INTEGER NOT NULL DEFAULT 0,
    shown      TEXT NOT NULL, -- the value as JSON, exact (SQLite's own text of a number is not)
    timestamp  BIGINT NOT NULL,
    step       BIGINT NOT NULL,
    context    BIGINT NOT NULL DEFAULT 0,
    UNIQUE (run, key)
);
-- An experiment's runs in the order of a metric: a page of them is a walk that stops when it is full.
CREATE INDEX metric_by_value ON metric_latest (experiment, key, is_nan, value, run);
CREATE TRIGGER metric_moves AFTER UPDATE OF experiment ON run WHEN OLD.experiment <> NEW.experiment BEGIN
    UPDATE metric_latest SET experiment = NEW.experiment WHERE run = NEW.id;
END;

-- What was logged on an ended run, as lists shall show it: JSON that is ready to be sent. A card is a copy
-- and may be missing; triggers take it away when anything in it changes, whoever changes it.
CREATE TABLE run_card (
    run     TEXT PRIMARY KEY REFERENCES run(id) ON DELETE CASCADE,
    metrics TEXT NOT NULL,
    params  TEXT NOT NULL,
    tags    TEXT NOT NULL
);
CREATE TRIGGER card_metric_new AFTER INSERT ON metric_latest
    BEGIN DELETE FROM run_card WHERE run = NEW.run; END;
CREATE TRIGGER card_metric_changed AFTER UPDATE OF value, is_nan, timestamp, step, context ON metric_latest
    BEGIN DELETE FROM run_card WHERE run = NEW.run; END;
CREATE TRIGGER card_metric_gone AFTER DELETE ON metric_latest
    BEGIN DELETE FROM run_card WHERE run = OLD.run; END;
CREATE TRIGGER card_param_new AFTER INSERT ON run_param
    BEGIN DELETE FROM run_card WHERE run = NEW.run; END;
CREATE TRIGGER card_param_changed AFTER UPDATE ON run_param
    BEGIN DELETE FROM run_card WHERE run = NEW.run; END;
CREATE TRIGGER card_param_gone AFTER DELETE ON run_param
    BEGIN DELETE FROM run_card WHERE run = OLD.run; END;
CREATE TRIGGER card_tag_new AFTER INSERT ON run_tag
    BEGIN DELETE FROM run_card WHERE run = NEW.run; END;
CREATE TRIGGER card_tag_changed AFTER UPDATE ON run_tag
    BEGIN DELETE FROM run_card WHERE run = NEW.run; END;
CREATE TRIGGER card_tag_gone AFTER DELETE ON run_tag
    BEGIN DELETE FROM run_card WHERE run = OLD.run; END;
CREATE TABLE metric_chunk (
    series BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    points BLOB NOT NULL,
    PRIMARY KEY (series, seq)
) WITHOUT ROWID;

-- An overwritten artifact is a new row; the newest counts.
CREATE TABLE run_artifact (
    seq    INTEGER PRIMARY KEY,
    owner  TEXT NOT NULL,
    path   TEXT NOT NULL,
    digest TEXT,
    size   BIGINT NOT NULL,
    at     BIGINT NOT NULL
);
CREATE INDEX run_artifact_by_path ON run_artifact (owner, path, seq);

CREATE TABLE run_input (
    run    TEXT NOT NULL REFERENCES run(id),
    kind   TEXT NOT NULL,
    key    TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run, kind, key)
);

CREATE TABLE logged_model (
    id         TEXT PRIMARY KEY,
    experiment INTEGER NOT NULL REFERENCES experiment(id),
    run        TEXT,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    deleted    INTEGER NOT NULL DEFAULT 0,
    record     TEXT NOT NULL
);
CREATE INDEX logged_model_by_experiment ON logged_model (experiment, created DESC);

-- objects, refs, journal ---------------------------------------------------------------------------
CREATE TABLE record (
    digest TEXT PRIMARY KEY,
    kind   TEXT NOT NULL,
    body   TEXT NOT NULL
);
CREATE TABLE ref (
    name   TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    moved  BIGINT NOT NULL
);
CREATE TABLE journal (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    at          BIGINT NOT NULL,
    name        TEXT NOT NULL,
    from_target TEXT,
    to_target   TEXT,
    actor       TEXT NOT NULL,
    why         TEXT NOT NULL,
    run         TEXT,
    evidence    TEXT NOT NULL
);
CREATE INDEX journal_by_name ON journal (name, seq);

-- data ---------------------------------------------------------------------------------------------
CREATE TABLE dataset_version (
    dataset TEXT NOT NULL,
    seq     BIGINT NOT NULL,
    digest  TEXT NOT NULL,
    record  TEXT NOT NULL,
    PRIMARY KEY (dataset, seq)
);
CREATE UNIQUE INDEX dataset_version_by_digest ON dataset_version (dataset, digest);

-- pipeline -----------------------------------------------------------------------------------------
CREATE TABLE step_cache (
    key     TEXT PRIMARY KEY,
    step    TEXT NOT NULL,
    run     TEXT NOT NULL,
    outputs TEXT NOT NULL,
    created BIGINT NOT NULL
);

-- registry -----------------------------------------------------------------------------------------
CREATE TABLE model (
    name    TEXT PRIMARY KEY,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    record  TEXT NOT NULL
);
CREATE TABLE model_version (
    model   TEXT NOT NULL REFERENCES model(name) ON UPDATE CASCADE,
    version BIGINT NOT NULL,
    digest  TEXT NOT NULL,
    run     TEXT,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    record  TEXT NOT NULL,
    PRIMARY KEY (model, version)
);
CREATE INDEX model_version_by_run ON model_version (run);

-- monitoring ---------------------------------------------------------------------------------------
CREATE TABLE monitor_window (
    deployment TEXT NOT NULL,
    start_at   BIGINT NOT NULL,
    end_at     BIGINT NOT NULL,
    final      INTEGER NOT NULL,
    record     TEXT NOT NULL,
    PRIMARY KEY (deployment, start_at, end_at)
);
CREATE TABLE alert (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    model      TEXT NOT NULL,
    event_time BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    record     TEXT NOT NULL
);
CREATE INDEX alert_by_model ON alert (model, event_time);
CREATE TABLE retrain_request (
    id      TEXT PRIMARY KEY,
    model   TEXT NOT NULL,
    state   TEXT NOT NULL,
    until   BIGINT NOT NULL,
    created BIGINT NOT NULL,
    record  TEXT NOT NULL
);
CREATE INDEX retrain_request_by_model ON retrain_request (model, until);

-- what processes share -----------------------------------------------------------------------------
CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  BIGINT NOT NULL
);
CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
