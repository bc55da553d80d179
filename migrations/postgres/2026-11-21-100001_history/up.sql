-- What was measured and judged. A round is kept as it came until there are enough of them to be packed: then their
-- numbers become one column a series, and what the columns have in common is the window's.
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
    told BYTEA NOT NULL,
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
    told BYTEA NOT NULL
);

CREATE INDEX ix_history_windows_begin ON history_windows (host, begin_ms);
CREATE INDEX ix_history_windows_end ON history_windows (end_ms);

CREATE TABLE history_columns (
    series_id BIGINT NOT NULL,
    window_id BIGINT NOT NULL,
    numbers BYTEA NOT NULL,
    PRIMARY KEY (series_id, window_id)
);
-- The numbers are packed already.
ALTER TABLE history_columns ALTER COLUMN numbers SET STORAGE EXTERNAL;
ALTER TABLE history_rounds ALTER COLUMN numbers SET STORAGE EXTERNAL;
ALTER TABLE history_rounds ALTER COLUMN told SET STORAGE EXTERNAL;
