//! The tables as Diesel knows them: what the migrations make, for both databases. A test compares them. Times and
//! JSON of `job_chunks` are not here, for the two databases have no type for them in common; `chunks` reads them.

diesel::table! {
    job_chunks (id) {
        id -> Integer,
        job_id -> Integer,
        chunk_index -> Integer,
        status -> Text,
        priority -> Integer,
        error_message -> Nullable<Text>,
        retry_count -> Integer,
        task_id -> Nullable<Text>,
    }
}

diesel::table! {
    history_series (id) {
        id -> BigInt,
        host -> Text,
        metric -> Text,
        labels -> Text,
        unit -> Text,
    }
}

diesel::table! {
    history_rounds (host, time_ms) {
        host -> Text,
        time_ms -> BigInt,
        numbers -> Binary,
        told -> Binary,
    }
}

diesel::table! {
    history_windows (id) {
        id -> BigInt,
        host -> Text,
        begin_ms -> BigInt,
        end_ms -> BigInt,
        rounds -> BigInt,
        samples -> BigInt,
        bytes -> BigInt,
        shared -> Binary,
        told -> Binary,
    }
}

diesel::table! {
    history_columns (series_id, window_id) {
        series_id -> BigInt,
        window_id -> BigInt,
        numbers -> Binary,
    }
}

diesel::allow_tables_to_appear_in_same_query!(history_series, history_columns);
