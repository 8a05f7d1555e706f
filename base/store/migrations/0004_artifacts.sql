-- Set where an artifact lies as a plain file and not as an object: when the file was last changed, in
-- nanoseconds since the epoch. What was changed since is not what the digest says any more.
ALTER TABLE run_artifact ADD COLUMN modified BIGINT;
