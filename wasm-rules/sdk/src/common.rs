//! Implementations for the types that both contracts define. Each contract defines all of its types itself, so that a
//! component imports nothing; the macro here implements their methods once for both.

macro_rules! implement_common {
    ($contract:ident) => {
        impl $contract::Severity {
            /// The name of the severity in settings and in messages.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Ok => "ok",
                    Self::Unknown => "unknown",
                    Self::Warning => "warning",
                    Self::Alert => "alert",
                }
            }
        }

        /// The series in the notation of Prometheus: `disk{mountpoint="/"}`.
        impl std::fmt::Display for $contract::Subject {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.metric)?;
                for (at, label) in self.labels.iter().enumerate() {
                    let before = if at == 0 { '{' } else { ',' };
                    write!(f, "{before}{}={:?}", label.name, label.value)?;
                }
                f.write_str(if self.labels.is_empty() { "" } else { "}" })
            }
        }

        impl From<$crate::Plan> for $contract::Plan {
            fn from(plan: $crate::Plan) -> Self {
                let $crate::Plan {
                    metrics,
                    settings,
                    effective_settings,
                } = plan;
                Self {
                    metrics: Some(metrics),
                    settings,
                    effective_settings,
                }
            }
        }

        impl From<$crate::Problem> for $contract::Problem {
            fn from($crate::Problem { path, message }: $crate::Problem) -> Self {
                Self { path, message }
            }
        }
    };
}

pub(crate) use implement_common;
