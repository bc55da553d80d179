-- Each host prunes its own records, and each class of records has a quota: many refusals of anonymous clients must not
-- displace the records of break-glass access and of changed rules.
ALTER TABLE decisions ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE decisions ADD COLUMN class TEXT NOT NULL DEFAULT 'ordinary';

-- PostgreSQL does not read JSON in which any string has a NUL; the host of such records stays unknown.
UPDATE decisions SET host = COALESCE(payload::json ->> 'host', '') WHERE position('\u0000' in payload) = 0;
UPDATE decisions SET class = 'anonymous' WHERE identity = 'anonymous';
UPDATE decisions SET class = 'privileged'
WHERE kind = 'decision' AND (verdict = 'break_glass' OR (action = 'rules.write' AND verdict = 'allow'));

CREATE INDEX ix_decisions_host_class ON decisions (host, class, id);
