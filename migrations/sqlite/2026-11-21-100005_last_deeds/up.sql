-- What was done last to each rule is asked after every change, and the log is kept for ever: all that is asked for is in
-- the index.
CREATE INDEX ix_rule_log_what ON rule_log (what, name, digest, done_by, id);

-- A number is never given again, even if all rows that had one are gone: who reads on after the last one that they saw
-- would miss what came since. In SQLite that takes a table that says so from its beginning.
CREATE TABLE numbered_decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
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
