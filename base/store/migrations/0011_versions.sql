-- When a version of a dataset was dropped, in milliseconds: its row stays, so that the numbers of the others do.
ALTER TABLE dataset_version ADD COLUMN dropped BIGINT;
