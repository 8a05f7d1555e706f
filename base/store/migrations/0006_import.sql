-- What was brought in from another store, and how far: an empty mark means that it is under way, any other
-- is the digest of what it was there, so that the same is not brought in twice and a change is seen.
CREATE TABLE imported (
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    mark TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
