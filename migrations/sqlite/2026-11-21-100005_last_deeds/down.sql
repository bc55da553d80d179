DROP INDEX ix_rule_log_what;

CREATE TABLE numbered_decisions (
    id INTEGER PRIMARY KEY NOT NULL,
    mark BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    identity TEXT,
    action TEXT,
    verdict TEXT,
    rule TEXT,
    told TEXT NOT NULL
);

INSERT INTO numbered_decisions (id, mark, time_ms, kind, identity, action, verdict, rule, told)
SELECT id, mark, time_ms, kind, identity, action, verdict, rule, told FROM decisions;

DROP TABLE decisions;

ALTER TABLE numbered_decisions RENAME TO decisions;

CREATE UNIQUE INDEX ux_decisions_mark ON decisions (mark);

CREATE INDEX ix_decisions_time ON decisions (time_ms);
