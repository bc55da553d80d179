//! The tables in Diesel's form, as the migrations create them in both databases. A test compares them. The times and
//! the JSON of `job_chunks` are missing, because the two databases have no common type for them; `chunks` reads them.

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
        extras -> Binary,
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
        extras -> Binary,
    }
}

diesel::table! {
    history_columns (series_id, window_id) {
        series_id -> BigInt,
        window_id -> BigInt,
        numbers -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::column_types::*;

    rule_versions (digest) {
        digest -> VersionDigest,
        name -> Text,
        kind -> VersionKind,
        version -> Text,
        description -> Text,
        settings_schema -> Text,
        bytes -> BigInt,
        wasm -> Binary,
        uploaded_ms -> BigInt,
        uploaded_by -> Text,
        note -> Text,
        signer -> Nullable<Text>,
        settings_id -> Nullable<BigInt>,
        signature -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::column_types::*;

    rule_settings (id) {
        id -> BigInt,
        name -> Text,
        digest -> SettingsDigest,
        settings -> Text,
        updated_ms -> BigInt,
        updated_by -> Text,
    }
}

diesel::table! {
    rule_generations (generation) {
        generation -> BigInt,
        created_ms -> BigInt,
        entries -> Text,
    }
}

diesel::table! {
    rule_generation_signatures (generation) {
        generation -> BigInt,
        signer -> Text,
        signature -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::column_types::*;

    rule_log (id) {
        id -> BigInt,
        time_ms -> BigInt,
        name -> Text,
        action -> LogAction,
        digest -> Nullable<LogDigest>,
        settings_id -> Nullable<LogSettings>,
        generation -> Nullable<BigInt>,
        actor -> Text,
        address -> Text,
        note -> Text,
    }
}

diesel::table! {
    decisions (id) {
        id -> BigInt,
        dedupe_key -> BigInt,
        time_ms -> BigInt,
        kind -> Text,
        identity -> Nullable<Text>,
        action -> Nullable<Text>,
        verdict -> Nullable<Text>,
        rule -> Nullable<Text>,
        payload -> Text,
        host -> Text,
        class -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(history_series, history_columns);
