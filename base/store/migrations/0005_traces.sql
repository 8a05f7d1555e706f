-- Traces: what calls of an application did, span by span, and what people and judges say of them.
-- Tags and metadata of a trace stand in its row, so that a page of a search reads rows and nothing else.

CREATE TABLE trace (
    id               TEXT PRIMARY KEY,
    experiment       INTEGER NOT NULL REFERENCES experiment(id),
    started          BIGINT NOT NULL,
    duration         BIGINT,
    state            TEXT NOT NULL,
    client_request   TEXT,
    request_preview  TEXT,
    response_preview TEXT,
    tags             TEXT NOT NULL,
    metadata         TEXT NOT NULL
);
CREATE INDEX trace_by_experiment ON trace (experiment, started DESC, id);

-- One row for each export of spans: a JSON list. A span that came twice counts as it came last. The column
-- is no TEXT to whoever looks through all texts for what they name: spans name nothing of this store's.
CREATE TABLE trace_spans (
    trace TEXT NOT NULL REFERENCES trace(id) ON DELETE CASCADE,
    seq   BIGINT NOT NULL,
    spans JSON NOT NULL,
    PRIMARY KEY (trace, seq)
);

-- `text` is the value as filters compare it. `session` is set where the assessment is of a whole session.
CREATE TABLE trace_assessment (
    id      TEXT PRIMARY KEY,
    trace   TEXT NOT NULL REFERENCES trace(id) ON DELETE CASCADE,
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    text    TEXT NOT NULL,
    session TEXT,
    valid   INTEGER NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    record  TEXT NOT NULL
);
CREATE INDEX trace_assessment_by_trace ON trace_assessment (trace, created, id);
CREATE INDEX trace_assessment_by_session ON trace_assessment (session) WHERE session IS NOT NULL;

CREATE TABLE trace_run (
    run   TEXT NOT NULL,
    trace TEXT NOT NULL REFERENCES trace(id) ON DELETE CASCADE,
    PRIMARY KEY (run, trace)
);
CREATE INDEX trace_run_by_trace ON trace_run (trace);
CREATE TABLE trace_prompt (
    prompt  TEXT NOT NULL,
    version TEXT NOT NULL,
    trace   TEXT NOT NULL REFERENCES trace(id) ON DELETE CASCADE,
    PRIMARY KEY (prompt, version, trace)
);
CREATE INDEX trace_prompt_by_trace ON trace_prompt (trace);
