-- Who was refused what, and what the rules found. What is searched has a column; the rest is JSON in `told`. The mark
-- is known before a row is written, so that one that is written twice is there once.
CREATE TABLE decisions (
    id BIGSERIAL PRIMARY KEY,
    mark BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    identity TEXT,
    action TEXT,
    verdict TEXT,
    rule TEXT,
    told TEXT NOT NULL
);

CREATE UNIQUE INDEX ux_decisions_mark ON decisions (mark);

CREATE INDEX ix_decisions_time ON decisions (time_ms);
