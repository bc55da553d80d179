DROP INDEX ix_rule_log_action;

CREATE TABLE numbered_decisions (
    id INTEGER PRIMARY KEY NOT NULL,
    dedupe_key BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    identity TEXT,
    action TEXT,
    verdict TEXT,
    rule TEXT,
    payload TEXT NOT NULL
);

INSERT INTO numbered_decisions (id, dedupe_key, time_ms, kind, identity, action, verdict, rule, payload)
SELECT id, dedupe_key, time_ms, kind, identity, action, verdict, rule, payload FROM decisions;

DROP TABLE decisions;

ALTER TABLE numbered_decisions RENAME TO decisions;

CREATE UNIQUE INDEX ux_decisions_dedupe_key ON decisions (dedupe_key);

CREATE INDEX ix_decisions_time ON decisions (time_ms);
