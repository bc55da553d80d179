//! What the two contracts have in common. Each stands on its own, so that a component has no import at all, and
//! so the same types exist twice; what they can do is written once, here.

macro_rules! speaks {
    ($contract:ident) => {
        impl $contract::Severity {
            /// The word that operators write and read.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Ok => "ok",
                    Self::Unknown => "unknown",
                    Self::Warning => "warning",
                    Self::Alert => "alert",
                }
            }
        }

        /// As people write a series: `disk{mountpoint="/"}`.
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
            fn from($crate::Plan { metrics, settings }: $crate::Plan) -> Self {
                Self {
                    metrics: Some(metrics),
                    settings,
                }
            }
        }

        impl From<$crate::Problem> for $contract::Problem {
            fn from($crate::Problem { at, what }: $crate::Problem) -> Self {
                Self { at, what }
            }
        }
    };
}

pub(crate) use speaks;
