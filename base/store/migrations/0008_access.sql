-- Users, what each may, and their tokens. Passwords are argon2 hashes, tokens digests of random bytes.

CREATE TABLE account (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE,
    password TEXT,
    role     TEXT NOT NULL,
    created  BIGINT NOT NULL,
    updated  BIGINT NOT NULL
);
CREATE TABLE experiment_permission (
    account    INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
    experiment INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE,
    permission TEXT NOT NULL,
    PRIMARY KEY (account, experiment)
);
CREATE INDEX experiment_permission_by_experiment ON experiment_permission (experiment);
CREATE TABLE model_permission (
    account    INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
    model      TEXT NOT NULL REFERENCES model(name) ON UPDATE CASCADE ON DELETE CASCADE,
    permission TEXT NOT NULL,
    PRIMARY KEY (account, model)
);
CREATE INDEX model_permission_by_model ON model_permission (model);
CREATE TABLE token (
    id         TEXT PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,
    account    INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,
    note       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    experiment INTEGER REFERENCES experiment(id) ON DELETE CASCADE,
    model      TEXT REFERENCES model(name) ON UPDATE CASCADE ON DELETE CASCADE,
    created    BIGINT NOT NULL,
    expires    BIGINT
);
CREATE INDEX token_by_account ON token (account);
CREATE INDEX token_by_experiment ON token (experiment) WHERE experiment IS NOT NULL;
CREATE INDEX token_by_model ON token (model) WHERE model IS NOT NULL;

-- Counted up by every change of the above, whoever makes it: a server that holds them in memory asks for
-- this number alone. PostgreSQL says the same with one trigger function.
CREATE TABLE access_state (
    one                INTEGER PRIMARY KEY CHECK (one = 1),
    generation         BIGINT NOT NULL,
    default_permission TEXT NOT NULL
);
INSERT INTO access_state (one, generation, default_permission) VALUES (1, 1, 'READ');

CREATE TRIGGER account_made AFTER INSERT ON account
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER account_changed AFTER UPDATE ON account
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER account_gone AFTER DELETE ON account
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER experiment_permission_made AFTER INSERT ON experiment_permission
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER experiment_permission_changed AFTER UPDATE ON experiment_permission
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER experiment_permission_gone AFTER DELETE ON experiment_permission
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER model_permission_made AFTER INSERT ON model_permission
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER model_permission_changed AFTER UPDATE ON model_permission
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER model_permission_gone AFTER DELETE ON model_permission
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER token_made AFTER INSERT ON token
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER token_changed AFTER UPDATE ON token
BEGIN UPDATE access_state SET generation = generation + 1; END;
CREATE TRIGGER token_gone AFTER DELETE ON token
BEGIN UPDATE access_state SET generation = generation + 1; END;
