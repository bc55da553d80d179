-- What was done last to each rule is asked after every change, and the log is kept for ever: all that is asked for is in
-- the index.
CREATE INDEX ix_rule_log_what ON rule_log (what, name, digest, done_by, id);
