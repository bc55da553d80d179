-- The signature that a component was brought with, so that it can be held against the keys that are trusted later.
ALTER TABLE rule_versions ADD COLUMN signature BLOB;
