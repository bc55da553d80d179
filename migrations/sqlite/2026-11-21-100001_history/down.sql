DROP TABLE history_columns;
DROP TABLE history_windows;
DROP TABLE history_rounds;
DROP TABLE history_series;
