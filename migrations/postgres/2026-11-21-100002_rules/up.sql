-- Uploaded rules, their settings, and the generations of active rules. A generation is one immutable row that lists all
-- rules, so concurrent changes end up in one order.
CREATE TABLE rule_versions (
    digest TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    settings_schema TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    wasm BYTEA NOT NULL,
    uploaded_ms BIGINT NOT NULL,
    uploaded_by TEXT NOT NULL,
    note TEXT NOT NULL,
    signer TEXT,
    settings_id BIGINT
);

CREATE INDEX ix_rule_versions_name ON rule_versions (name, uploaded_ms);

CREATE TABLE rule_settings (
    id BIGSERIAL PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    settings TEXT NOT NULL,
    updated_ms BIGINT NOT NULL,
    updated_by TEXT NOT NULL
);

CREATE UNIQUE INDEX ux_rule_settings ON rule_settings (name, digest);

CREATE TABLE rule_generations (
    generation BIGINT PRIMARY KEY NOT NULL,
    created_ms BIGINT NOT NULL,
    entries TEXT NOT NULL
);

CREATE TABLE rule_log (
    id BIGSERIAL PRIMARY KEY,
    time_ms BIGINT NOT NULL,
    name TEXT NOT NULL,
    action TEXT NOT NULL,
    digest TEXT,
    settings_id BIGINT,
    generation BIGINT,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    note TEXT NOT NULL
);

CREATE INDEX ix_rule_log_name ON rule_log (name, id);

-- Components with an interpreter are large and compress poorly; decompressing them on every read would cost a second.
ALTER TABLE rule_versions ALTER COLUMN wasm SET STORAGE EXTERNAL;
