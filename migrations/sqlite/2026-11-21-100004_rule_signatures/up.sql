-- The signature that a component was uploaded with, so that it can be verified again with the keys trusted later.
ALTER TABLE rule_versions ADD COLUMN signature BLOB;
