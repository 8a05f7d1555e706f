-- What filters ask of ended runs, once more and by column. A pack is some hundred runs of an experiment and, of
-- each key, all their values in one piece, so that a filter over a hundred thousand runs reads a few hundred
-- pieces. Packs are copies like the cards and never wrong, only behind: a run of which anything changes leaves
-- its pack together with its card, and is looked at by itself until it is packed again.
ALTER TABLE run ADD COLUMN pack INTEGER;
CREATE INDEX run_unpacked ON run (experiment) WHERE pack IS NULL;
CREATE INDEX run_by_pack ON run (pack) WHERE pack IS NOT NULL;

-- `runs` are the ids, 16 bytes each; `cells` are as `meta::packs` says.
CREATE TABLE pack (
    id         INTEGER PRIMARY KEY,
    experiment INTEGER NOT NULL,
    runs       BLOB NOT NULL
);
CREATE INDEX pack_by_experiment ON pack (experiment, id);
CREATE TABLE pack_column (
    pack  INTEGER NOT NULL REFERENCES pack(id) ON DELETE CASCADE,
    field TEXT NOT NULL,
    cells BLOB NOT NULL,
    PRIMARY KEY (pack, field)
) WITHOUT ROWID;

CREATE TRIGGER pack_card_gone AFTER DELETE ON run_card
    BEGIN UPDATE run SET pack = NULL WHERE id = OLD.run AND pack IS NOT NULL; END;
CREATE TRIGGER pack_run_changed AFTER UPDATE OF experiment, name ON run
    WHEN OLD.pack IS NOT NULL AND (OLD.name <> NEW.name OR OLD.experiment <> NEW.experiment)
    BEGIN UPDATE run SET pack = NULL WHERE id = NEW.id; END;

-- Beside the many runs of clients there are few of any other kind, and few that are below another.
CREATE INDEX run_by_kind ON run (kind, started DESC, id) WHERE kind <> 'client';
DROP INDEX run_by_parent;
CREATE INDEX run_by_parent ON run (parent) WHERE parent IS NOT NULL;
