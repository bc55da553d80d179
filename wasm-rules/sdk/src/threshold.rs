//! The interface of threshold rules, which judge measured metrics.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::common;
use crate::settings::{self, Plan, Problem};

#[doc(hidden)]
pub mod generated {
    wit_bindgen::generate!({
        path: "../../policies/wit",
        world: "threshold",
        pub_export_macro: true,
        export_macro_name: "export_threshold",
    });
}

pub use contract::{Finding, Gap, Label, Manifest, Metric, Round, Sample, Severity, Subject};
pub use generated::exports::watchpost::rules::threshold_rule as contract;

/// A threshold rule. Each call gets a fresh instance, so a rule keeps no state; the findings of the last round are part
/// of the [`Round`].
pub trait Rule {
    /// The settings as the operator writes them in JSON. Give every field a default, so that `{}` is valid.
    type Settings: DeserializeOwned;
    /// The settings that `judge` reads: the settings themselves, or a form of them that is faster to use. It may borrow
    /// its texts.
    type Prepared<'p>: Deserialize<'p>;

    /// The name, version, description and settings schema of the rule.
    fn describe() -> Manifest;

    /// Checks the settings once: returns every problem, or a plan with the metrics that `judge` needs.
    fn plan(settings: Self::Settings) -> Result<Plan, Vec<Problem>>;

    /// Judges a round. An error is reported as a fault of the rule.
    fn judge(round: Round, settings: Self::Prepared<'_>) -> Result<Vec<Finding>, String>;
}

common::implement_common!(contract);

/// Exports a type that implements [`Rule`] as a component.
#[macro_export]
macro_rules! threshold {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;
            impl $crate::threshold::contract::Guest for Component {
                fn describe() -> $crate::threshold::Manifest {
                    $crate::panic_message::install_hook();
                    <$rule as $crate::threshold::Rule>::describe()
                }
                fn check_settings(
                    settings: String,
                ) -> Result<$crate::threshold::contract::Plan, Vec<$crate::threshold::contract::Problem>> {
                    $crate::panic_message::install_hook();
                    $crate::threshold::check::<$rule>(&settings)
                }
                fn judge(
                    round: $crate::threshold::Round,
                    settings: Vec<u8>,
                ) -> Result<Vec<$crate::threshold::Finding>, String> {
                    $crate::panic_message::install_hook();
                    $crate::threshold::judge::<$rule>(round, &settings)
                }
            }
    $crate::threshold::generated::export_threshold!(Component with_types_in $crate::threshold::generated);
        };
    };
}

#[doc(hidden)]
pub fn check<R: Rule>(json: &str) -> Result<contract::Plan, Vec<contract::Problem>> {
    let plan = settings::read(json).and_then(R::plan);
    plan.map(Into::into)
        .map_err(|problems| problems.into_iter().map(Into::into).collect())
}

#[doc(hidden)]
pub fn judge<R: Rule>(round: Round, prepared: &[u8]) -> Result<Vec<Finding>, String> {
    R::judge(round, settings::prepared(prepared)?)
}
