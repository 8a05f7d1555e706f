-- Every point of a logged model's metrics, in the order in which they were logged; exact repetitions once. An
-- empty dataset name means none. A model's newest value of a metric is one step along the index.
ALTER TABLE logged_model_metric RENAME TO logged_model_newest;
CREATE TABLE logged_model_metric (
    seq            INTEGER PRIMARY KEY,
    model          TEXT NOT NULL REFERENCES logged_model(id),
    run            TEXT NOT NULL,
    key            TEXT NOT NULL,
    dataset_name   TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    value          DOUBLE PRECISION NOT NULL,
    is_nan         INTEGER NOT NULL DEFAULT 0,
    timestamp      BIGINT NOT NULL,
    step           BIGINT NOT NULL,
    UNIQUE (model, key, timestamp, step, run, dataset_name, dataset_digest, is_nan, value)
);
INSERT INTO logged_model_metric (model, run, key, dataset_name, dataset_digest, value, is_nan, timestamp, step)
    SELECT model, run, key, dataset_name, dataset_digest, value, is_nan, timestamp, step
    FROM logged_model_newest ORDER BY model, timestamp, step, key;
DROP TABLE logged_model_newest;

-- The datasets of an experiment's runs, each as it was logged first: `key` is its digest and its name, as in
-- `run_input`. Whoever names one again means this one, whatever else is said of it.
CREATE TABLE experiment_dataset (
    experiment INTEGER NOT NULL REFERENCES experiment(id),
    key        TEXT NOT NULL,
    dataset    TEXT NOT NULL,
    PRIMARY KEY (experiment, key)
);
INSERT INTO experiment_dataset (experiment, key, dataset)
    SELECT r.experiment, i.key, json_extract(i.record, '$.dataset') FROM run_input i JOIN run r ON r.id = i.run
    WHERE i.kind = 'dataset' AND json_extract(i.record, '$.dataset') IS NOT NULL ORDER BY i.rowid
    ON CONFLICT (experiment, key) DO NOTHING;

-- Set where a client took away the tag that a run's name also is.
ALTER TABLE run ADD COLUMN untagged INTEGER NOT NULL DEFAULT 0;
