//! The built-in role rule: identities have roles, roles have actions, and `while` clauses deny actions as long as a
//! finding is not ok. This file makes the decision; `settings` defines and checks the settings.

mod prepared;
mod settings;

use watchpost_rule::pattern::plan_pattern;
use watchpost_rule::role::{Decision, Identity, Manifest, Request, Rule, Standing};
use watchpost_rule::text::{cut, cut_to};
use watchpost_rule::{Plan, Problem};

use prepared::{Prepared, PreparedClause, is_limited_proxy};
use settings::Clause;
pub use settings::Settings;

/// The built-in role rule.
pub struct Roles;

watchpost_rule::role!(Roles);

/// The role of every client, with or without an identity.
const ANONYMOUS: &str = "anonymous";

/// The maximum length in a message of a client's name or of a subject, so that the text after it is not cut off.
const MAX_PART_BYTES: usize = 400;

impl Rule for Roles {
    type Settings = Settings;
    type Prepared<'p> = Prepared<&'p str>;

    fn describe() -> Manifest {
        Manifest {
            name: "role".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Gives roles to identities and actions to roles, and denies actions while something is \
                          not ok."
                .to_owned(),
            settings_schema: include_str!("../settings.schema.json").to_owned(),
        }
    }

    fn plan(settings: Settings, actions: &[String]) -> Result<Plan, Vec<Problem>> {
        let problems = settings.problems(actions);
        if !problems.is_empty() {
            return Err(problems);
        }
        let settings = settings.with_built_in_roles();
        let prepared = Prepared::new(settings.clone(), actions);
        let metrics = prepared
            .clauses
            .iter()
            .map(|PreparedClause { clause, .. }| plan_pattern(&clause.metric));
        Ok(Plan::new(metrics, &prepared).with_effective_settings(&settings))
    }

    fn decide(request: Request, standings: Vec<Standing>, settings: Prepared<&str>) -> Result<Decision, String> {
        let mut roles = settings.roles_of(&request);
        if !roles.contains(&ANONYMOUS) {
            roles.push(ANONYMOUS);
        }
        let action = settings.action_bit(&request.action);
        if !roles.iter().any(|role| settings.grants(role, action)) {
            return Ok(decision(&roles, Some(not_granted(&request, &roles, &settings))));
        }
        let denying = settings.clauses.iter().filter(|clause| clause.denies(action, &roles));
        let mut active = denying.filter_map(|PreparedClause { clause, .. }| {
            let standing = standings.iter().find(|standing| clause.holds(standing))?;
            Some((clause, standing))
        });
        let denial = active
            .next()
            .map(|(clause, standing)| denied_by_clause(&request, clause, standing));
        Ok(decision(&roles, denial))
    }
}

fn decision(roles: &[&str], denial: Option<String>) -> Decision {
    Decision {
        allowed: denial.is_none(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        reason: denial.map(cut).unwrap_or_default(),
    }
}

fn not_granted(request: &Request, roles: &[&str], settings: &Prepared<&str>) -> String {
    let assigned = request.assigned_roles.iter().map(String::as_str);
    let undefined: Vec<&str> = assigned.filter(|role| settings.role(role).is_none()).collect();
    let action = &request.action;
    let shortened = |name: String| cut_to(MAX_PART_BYTES, name);
    match &request.identity {
        Identity::Anonymous => {
            format!("anonymous clients may not do {action}; present a client certificate or a token")
        }
        Identity::Certificate(certificate) if is_limited_proxy(request) => {
            let owner = shortened(certificate.subject.clone());
            format!("a limited proxy certificate of {owner} has no role here, and {action} needs one")
        }
        Identity::Certificate(certificate) => {
            without_permission(&shortened(certificate.subject.clone()), roles, &undefined, action)
        }
        Identity::Token(name) => without_permission(&shortened(format!("the token {name}")), roles, &undefined, action),
    }
}

/// `undefined` are assigned roles that are not defined here.
fn without_permission(client: &str, roles: &[&str], undefined: &[&str], action: &str) -> String {
    let named: Vec<&str> = roles.iter().copied().filter(|role| *role != ANONYMOUS).collect();
    match named.as_slice() {
        [] if !undefined.is_empty() => format!(
            "{client} has no role here, and {action} needs one; the server assigns {}, which rules.role.roles \
             does not define",
            undefined.join(", ")
        ),
        [] => format!("{client} has no role here, and {action} needs one"),
        [role] => format!("{client} has the role {role}, which does not allow {action}"),
        roles => format!(
            "{client} has the roles {}, which do not allow {action}",
            roles.join(", ")
        ),
    }
}

fn denied_by_clause(request: &Request, clause: &Clause<&str>, standing: &Standing) -> String {
    let action = &request.action;
    let reason = match clause.reason {
        Some(reason) => reason.to_owned(),
        None => format!("{action} is not allowed meanwhile"),
    };
    let subject = cut_to(MAX_PART_BYTES, standing.subject.to_string());
    format!("{subject} is in {}: {reason}", standing.severity.as_str())
}

#[cfg(test)]
mod tests;
