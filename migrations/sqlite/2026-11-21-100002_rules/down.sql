DROP TABLE rule_log;
DROP TABLE rule_generations;
DROP TABLE rule_settings;
DROP TABLE rule_versions;
