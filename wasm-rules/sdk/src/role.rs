//! Rules that decide who may do what.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::both;
use crate::settings::{self, Plan, Problem};

#[doc(hidden)]
pub mod generated {
    wit_bindgen::generate!({
        path: "../../policies/wit",
        world: "role",
        pub_export_macro: true,
        export_macro_name: "export_role",
    });
}

pub use contract::{Certificate, Decision, Identity, Label, Manifest, Request, Severity, Standing, Subject};
pub use generated::exports::watchpost::rules::role_rule as contract;

/// A rule: settings, and a judgement.
pub trait Rule {
    /// What the operator writes, as JSON. `{}` has to be understood: give every field a default.
    type Settings: DeserializeOwned;
    /// What `decide` reads: the settings themselves, or something made of them that is quicker to use. It may
    /// borrow its texts.
    type Prepared<'p>: Deserialize<'p>;

    /// Who the rule is.
    fn describe() -> Manifest;

    /// Looks at the settings once: names the mistakes, or says what to do with them.
    ///
    /// `actions` are all the actions there are.
    fn plan(settings: Self::Settings, actions: &[String]) -> Result<Plan, Vec<Problem>>;

    /// Decides a request, given what is not ok just now. An error says why it could not, and denies.
    fn decide(request: Request, standings: Vec<Standing>, settings: Self::Prepared<'_>) -> Result<Decision, String>;
}

both::speaks!(contract);

/// Makes a component of a type that implements [`Rule`].
#[macro_export]
macro_rules! role {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;
            impl $crate::role::contract::Guest for Component {
                fn describe() -> $crate::role::Manifest {
                    $crate::panic_message::keep();
                    <$rule as $crate::role::Rule>::describe()
                }
                fn check_settings(
                    settings: String,
                    actions: Vec<String>,
                ) -> Result<$crate::role::contract::Plan, Vec<$crate::role::contract::Problem>> {
                    $crate::panic_message::keep();
                    $crate::role::check::<$rule>(&settings, &actions)
                }
                fn decide(
                    request: $crate::role::Request,
                    standings: Vec<$crate::role::Standing>,
                    settings: Vec<u8>,
                ) -> Result<$crate::role::Decision, String> {
                    $crate::panic_message::keep();
                    $crate::role::decide::<$rule>(request, standings, &settings)
                }
            }
    $crate::role::generated::export_role!(Component with_types_in $crate::role::generated);
        };
    };
}

#[doc(hidden)]
pub fn check<R: Rule>(json: &str, actions: &[String]) -> Result<contract::Plan, Vec<contract::Problem>> {
    let plan = settings::read(json).and_then(|settings| R::plan(settings, actions));
    plan.map(Into::into)
        .map_err(|problems| problems.into_iter().map(Into::into).collect())
}

#[doc(hidden)]
pub fn decide<R: Rule>(request: Request, standings: Vec<Standing>, prepared: &[u8]) -> Result<Decision, String> {
    R::decide(request, standings, settings::prepared(prepared)?)
}
