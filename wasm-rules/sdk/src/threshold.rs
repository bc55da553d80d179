//! Rules that judge what was measured.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::both;
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

/// A rule: settings, and a judgement.
pub trait Rule {
    /// What the operator writes, as JSON. `{}` has to be understood: give every field a default.
    type Settings: DeserializeOwned;
    /// What `judge` reads: the settings themselves, or something made of them that is quicker to use. It may
    /// borrow its texts.
    type Prepared<'p>: Deserialize<'p>;

    /// Who the rule is.
    fn describe() -> Manifest;

    /// Looks at the settings once: names the mistakes, or says what to do with them.
    fn plan(settings: Self::Settings) -> Result<Plan, Vec<Problem>>;

    /// Judges a round. An error says why it could not.
    fn judge(round: Round, settings: Self::Prepared<'_>) -> Result<Vec<Finding>, String>;
}

both::speaks!(contract);

/// Makes a component of a type that implements [`Rule`].
#[macro_export]
macro_rules! threshold {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;
            impl $crate::threshold::contract::Guest for Component {
                fn describe() -> $crate::threshold::Manifest {
                    $crate::panic_message::keep();
                    <$rule as $crate::threshold::Rule>::describe()
                }
                fn check_settings(
                    settings: String,
                ) -> Result<$crate::threshold::contract::Plan, Vec<$crate::threshold::contract::Problem>> {
                    $crate::panic_message::keep();
                    $crate::threshold::check::<$rule>(&settings)
                }
                fn judge(
                    round: $crate::threshold::Round,
                    settings: Vec<u8>,
                ) -> Result<Vec<$crate::threshold::Finding>, String> {
                    $crate::panic_message::keep();
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
