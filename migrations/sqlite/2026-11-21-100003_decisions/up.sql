-- Audit records of authorization decisions and of changed judgements. Searchable fields have columns; the full record is
-- JSON in `payload`. The program chooses `dedupe_key` before it writes a row, so a batch can be retried safely.
CREATE TABLE decisions (
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

CREATE UNIQUE INDEX ux_decisions_dedupe_key ON decisions (dedupe_key);

CREATE INDEX ix_decisions_time ON decisions (time_ms);
