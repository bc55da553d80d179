-- The server queries the latest audit entry of each rule after every change, and the audit log is never pruned: this
-- index covers the whole query.
CREATE INDEX ix_rule_log_action ON rule_log (action, name, digest, actor, id);
