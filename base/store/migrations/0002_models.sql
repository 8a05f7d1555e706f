-- What clients of the tracking protocol say of models, beside the records.

CREATE TABLE logged_model_param (
    model  TEXT NOT NULL REFERENCES logged_model(id),
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    number REAL GENERATED ALWAYS AS (value) VIRTUAL,
    PRIMARY KEY (model, key)
);
CREATE TABLE logged_model_tag (
    model TEXT NOT NULL REFERENCES logged_model(id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
);
-- The newest value of each metric; its series is the run's. An empty dataset name means none.
CREATE TABLE logged_model_metric (
    model          TEXT NOT NULL REFERENCES logged_model(id),
    run            TEXT NOT NULL,
    key            TEXT NOT NULL,
    dataset_name   TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    value          DOUBLE PRECISION NOT NULL,
    is_nan         INTEGER NOT NULL DEFAULT 0,
    timestamp      BIGINT NOT NULL,
    step           BIGINT NOT NULL,
    PRIMARY KEY (model, key, run, dataset_name, dataset_digest)
);

CREATE TABLE model_tag (
    model TEXT NOT NULL REFERENCES model(name) ON UPDATE CASCADE ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
);
CREATE TABLE model_version_tag (
    model   TEXT NOT NULL,
    version BIGINT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (model, version, key),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version) ON UPDATE CASCADE ON DELETE CASCADE
);
-- The record of a version is immutable; what people write on it is here.
CREATE TABLE model_version_note (
    model       TEXT NOT NULL,
    version     BIGINT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    stage       TEXT NOT NULL DEFAULT 'None',
    PRIMARY KEY (model, version),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version) ON UPDATE CASCADE ON DELETE CASCADE
);
