//! The interface of role rules, which allow or deny requests.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::common;
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

/// A role rule. Each call gets a fresh instance, so a rule keeps no state.
pub trait Rule {
    /// The settings as the operator writes them in JSON. Give every field a default, so that `{}` is valid.
    type Settings: DeserializeOwned;
    /// The settings that `decide` reads: the settings themselves, or a form of them that is faster to use. It may
    /// borrow its texts.
    type Prepared<'p>: Deserialize<'p>;

    /// The name, version, description and settings schema of the rule.
    fn describe() -> Manifest;

    /// Checks the settings once: returns every problem, or a plan with the metrics that `decide` needs.
    ///
    /// `actions` are all actions of the server.
    fn plan(settings: Self::Settings, actions: &[String]) -> Result<Plan, Vec<Problem>>;

    /// Allows or denies a request; `standings` are the current findings that are not ok. An error is reported as a
    /// fault of the rule, and the request is denied.
    fn decide(request: Request, standings: Vec<Standing>, settings: Self::Prepared<'_>) -> Result<Decision, String>;
}

common::implement_common!(contract);

/// Exports a type that implements [`Rule`] as a component.
#[macro_export]
macro_rules! role {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;
            impl $crate::role::contract::Guest for Component {
                fn describe() -> $crate::role::Manifest {
                    $crate::panic_message::install_hook();
                    <$rule as $crate::role::Rule>::describe()
                }
                fn check_settings(
                    settings: String,
                    actions: Vec<String>,
                ) -> Result<$crate::role::contract::Plan, Vec<$crate::role::contract::Problem>> {
                    $crate::panic_message::install_hook();
                    $crate::role::check::<$rule>(&settings, &actions)
                }
                fn decide(
                    request: $crate::role::Request,
                    standings: Vec<$crate::role::Standing>,
                    settings: Vec<u8>,
                ) -> Result<$crate::role::Decision, String> {
                    $crate::panic_message::install_hook();
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
