//! Declares the service metrics: the field's name is the metric's name, its doc comment is the HELP text, its type is
//! the kind, and its labels follow the type. Nothing is written twice.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Result,
};

use watchpost_source::Kind;

/// Bucket bounds in seconds. Each one costs a series per route class: a response from memory takes less than the first,
/// and beyond the last a client has given up.
pub(super) const REQUEST_SECONDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0];

/// The declaration of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declaration {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The HELP text, with a space before it.
    #[cfg(test)]
    pub(super) help: &'static str,
    #[cfg(test)]
    pub(super) labels: &'static [&'static str],
}

/// A kind of metric that can be used in a declaration.
pub(super) trait Declared: Collector + Clone + Sized + 'static {
    const KIND: Kind;

    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self>;
}

macro_rules! declared {
    ($($metric:ident: $kind:ident, $make:expr;)+) => {
        $(impl Declared for $metric {
            const KIND: Kind = Kind::$kind;

            fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self> {
                let make: fn(Opts, &[&str]) -> Result<Self> = $make;
                make(Opts::new(name, help), labels)
            }
        })+
    };
}

declared! {
    IntCounter: Counter, |opts, _| Self::with_opts(opts);
    IntCounterVec: Counter, Self::new;
    IntGauge: Gauge, |opts, _| Self::with_opts(opts);
    IntGaugeVec: Gauge, Self::new;
    GaugeVec: Gauge, Self::new;
    HistogramVec: Histogram, |opts, labels| {
        Self::new(HistogramOpts::from(opts).buckets(REQUEST_SECONDS.to_vec()), labels)
    };
}

/// Declares a struct of metrics, and generates the code that creates, registers and lists them.
macro_rules! declare {
    (
        $(#[$outer:meta])*
        $visibility:vis struct $struct:ident {
            $($(#[doc = $help:literal])+ $name:ident: $metric:ident $([$($label:literal),+])?,)+
        }
    ) => {
        $(#[$outer])*
        $visibility struct $struct {
            $($(#[doc = $help])+ $name: $metric,)+
        }

        impl $struct {
            /// The declarations of all families.
            const FAMILIES: &'static [$crate::metrics::registry_macro::Declaration] = &[
                $($crate::metrics::registry_macro::Declaration {
                    name: stringify!($name),
                    kind: <$metric as $crate::metrics::registry_macro::Declared>::KIND,
                    #[cfg(test)]
                    help: concat!($($help),+),
                    #[cfg(test)]
                    labels: &[$($($label),+)?],
                },)+
            ];

            /// Creates all metrics and registers each of them.
            fn register(registry: &prometheus::Registry) -> prometheus::Result<Self> {
                $(
                    let $name = <$metric as $crate::metrics::registry_macro::Declared>::declare(
                        stringify!($name),
                        concat!($($help),+).trim_start(),
                        &[$($($label),+)?],
                    )?;
                    registry.register(Box::new($name.clone()))?;
                )+
                Ok(Self { $($name),+ })
            }
        }
    };
}

pub(super) use declare;
