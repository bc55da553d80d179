-- PixCrawler's table, column for column, so that the same queries read both. There is no foreign key to its jobs table,
-- because jobs are not stored here; and a chunk of a job is unique, so that reporting it twice changes nothing.
-- Times are UTC, as text that SQLite's own functions read.
CREATE TABLE job_chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    job_id INTEGER NOT NULL,
    chunk_index INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    priority INTEGER NOT NULL DEFAULT 5,
    image_range TEXT NOT NULL,
    error_message TEXT,
    retry_count INTEGER NOT NULL DEFAULT 0,
    task_id VARCHAR(255),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    CONSTRAINT ck_job_chunks_status_valid CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    CONSTRAINT ck_job_chunks_priority_range CHECK (priority >= 0 AND priority <= 10),
    CONSTRAINT ck_job_chunks_retry_count_positive CHECK (retry_count >= 0),
    CONSTRAINT ck_job_chunks_image_range_json CHECK (json_valid(image_range))
);

CREATE UNIQUE INDEX ux_job_chunks_job_index ON job_chunks (job_id, chunk_index);
CREATE INDEX ix_job_chunks_job_id ON job_chunks (job_id);
CREATE INDEX ix_job_chunks_status ON job_chunks (status);
CREATE INDEX ix_job_chunks_job_status ON job_chunks (job_id, status);
CREATE INDEX ix_job_chunks_priority_created ON job_chunks (priority, created_at);
CREATE INDEX ix_job_chunks_task_id ON job_chunks (task_id);
CREATE INDEX ix_job_chunks_created_at ON job_chunks (created_at);
-- Indexes for the collector's recurring queries, which must stay fast with a million chunks: the count per status, the
-- oldest update per status, and the sum of retries.
CREATE INDEX ix_job_chunks_status_updated ON job_chunks (status, updated_at);
CREATE INDEX ix_job_chunks_retried ON job_chunks (retry_count) WHERE retry_count > 0;
