DROP INDEX ix_decisions_host_class;

ALTER TABLE decisions DROP COLUMN class;
ALTER TABLE decisions DROP COLUMN host;
