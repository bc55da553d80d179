-- The server queries the latest audit entry of each rule after every change, and the audit log is never pruned: this
-- index covers the whole query.
CREATE INDEX ix_rule_log_action ON rule_log (action, name, digest, actor, id);

-- An id is never reused, even after all rows were deleted: a client that pages by the last id it has seen would miss
-- newer records. SQLite needs a table created with AUTOINCREMENT for that.
CREATE TABLE numbered_decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
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
