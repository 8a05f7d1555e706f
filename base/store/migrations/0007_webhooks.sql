-- Who is told of changes in the registry, and what is still to be told.

CREATE TABLE webhook (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    url         TEXT NOT NULL,
    secret      TEXT,
    active      INTEGER NOT NULL,
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);
CREATE INDEX webhook_by_age ON webhook (created DESC, id);
CREATE TABLE webhook_event (
    webhook TEXT NOT NULL REFERENCES webhook(id) ON DELETE CASCADE,
    event   TEXT NOT NULL,
    place   BIGINT NOT NULL,
    PRIMARY KEY (event, webhook)
);
CREATE INDEX webhook_event_by_webhook ON webhook_event (webhook);
-- Written in the transaction of the change that it tells of. Whoever sends it takes it until a moment; a
-- sender that dies leaves it to the next one.
CREATE TABLE webhook_delivery (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook  TEXT NOT NULL REFERENCES webhook(id) ON DELETE CASCADE,
    event    TEXT NOT NULL,
    data     TEXT NOT NULL,
    created  BIGINT NOT NULL,
    due      BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX webhook_delivery_by_due ON webhook_delivery (due);
CREATE INDEX webhook_delivery_by_webhook ON webhook_delivery (webhook);
