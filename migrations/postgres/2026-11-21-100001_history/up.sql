-- Recorded rounds: measurements and reports. A round is stored as one row until enough rounds exist to compact them into
-- a window: then each series has one packed column, and the data that the columns share is stored with the window.
-- `extras` holds the compressed JSON of a round's facts, gaps and report.
CREATE TABLE history_series (
    id BIGSERIAL PRIMARY KEY,
    host TEXT NOT NULL,
    metric TEXT NOT NULL,
    labels TEXT NOT NULL,
    unit TEXT NOT NULL
);

CREATE UNIQUE INDEX ux_history_series ON history_series (host, metric, labels, unit);
CREATE INDEX ix_history_series_metric ON history_series (metric);

CREATE TABLE history_rounds (
    host TEXT NOT NULL,
    time_ms BIGINT NOT NULL,
    numbers BYTEA NOT NULL,
    extras BYTEA NOT NULL,
    PRIMARY KEY (host, time_ms)
);

CREATE TABLE history_windows (
    id BIGSERIAL PRIMARY KEY,
    host TEXT NOT NULL,
    begin_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    rounds BIGINT NOT NULL,
    samples BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    shared BYTEA NOT NULL,
    extras BYTEA NOT NULL
);

CREATE INDEX ix_history_windows_begin ON history_windows (host, begin_ms);
CREATE INDEX ix_history_windows_end ON history_windows (end_ms);

CREATE TABLE history_columns (
    series_id BIGINT NOT NULL,
    window_id BIGINT NOT NULL,
    numbers BYTEA NOT NULL,
    PRIMARY KEY (series_id, window_id)
);
-- These values are compressed already.
ALTER TABLE history_columns ALTER COLUMN numbers SET STORAGE EXTERNAL;
ALTER TABLE history_rounds ALTER COLUMN numbers SET STORAGE EXTERNAL;
ALTER TABLE history_rounds ALTER COLUMN extras SET STORAGE EXTERNAL;
