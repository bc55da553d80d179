DROP TABLE job_chunks;
