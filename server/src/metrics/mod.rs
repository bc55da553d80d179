//! Numbers for Prometheus: what was measured, rendered once a round, and our own, rendered when asked.
