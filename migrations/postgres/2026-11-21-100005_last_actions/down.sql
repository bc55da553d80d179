DROP INDEX ix_rule_log_action;
