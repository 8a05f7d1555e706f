-- When a run was deleted: how long it stays to be brought back is counted from here.
ALTER TABLE run ADD COLUMN deleted_at BIGINT;
CREATE INDEX run_deleted ON run (deleted_at) WHERE deleted = 1;
