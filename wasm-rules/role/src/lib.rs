//! The role rule that Watchpost brings: identities have roles, roles have actions, and `while` clauses take
//! actions away while something is not ok. What may be written is told in `settings`; here is the decision.

mod prepared;
mod settings;

use watchpost_rule::pattern::wanted;
use watchpost_rule::role::{Decision, Identity, Manifest, Request, Rule, Standing};
use watchpost_rule::text::{cut, cut_to};
use watchpost_rule::{Plan, Problem};

use prepared::{Prepared, RoleGrants};
use settings::Clause;
pub use settings::Settings;

/// The rule.
pub struct Roles;

watchpost_rule::role!(Roles);

/// The role that everyone has.
const ANONYMOUS: &str = "anonymous";

/// Names of clients and labels of what they push may be long; what follows them in a sentence is to be read too.
const MAX_PART_BYTES: usize = 400;

impl Rule for Roles {
    type Settings = Settings;
    type Prepared<'p> = Prepared<&'p str>;

    fn describe() -> Manifest {
        Manifest {
            name: "role".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Gives roles to identities and actions to roles, and takes actions away while something is \
                          not ok. By default the OU of a development certificate is its role."
                .to_owned(),
            settings_schema: include_str!("../settings.schema.json").to_owned(),
        }
    }

    fn plan(settings: Settings, actions: &[String]) -> Result<Plan, Vec<Problem>> {
        let problems = settings.mistakes(actions);
        if !problems.is_empty() {
            return Err(problems);
        }
        let prepared = Prepared::new(settings, actions);
        let metrics = prepared
            .clauses
            .iter()
            .map(|RoleGrants { clause, .. }| wanted(&clause.metric));
        Ok(Plan::new(metrics, &prepared))
    }

    fn decide(request: Request, standings: Vec<Standing>, settings: Prepared<&str>) -> Result<Decision, String> {
        let mut roles = settings.roles_of(&request.identity);
        roles.push(ANONYMOUS);
        let action = settings.only(&request.action);
        if !roles.iter().any(|role| settings.grants(role, action)) {
            return Ok(decision(&roles, Some(not_granted(&request, &roles))));
        }
        let taking = settings.clauses.iter().filter(|taking| taking.takes(action, &roles));
        let mut holding = taking.filter_map(|RoleGrants { clause, .. }| {
            let standing = standings.iter().find(|standing| clause.holds(standing))?;
            Some((clause, standing))
        });
        let denial = holding
            .next()
            .map(|(clause, standing)| taken_away(&request, clause, standing));
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

fn not_granted(request: &Request, roles: &[&str]) -> String {
    let action = &request.action;
    let named = |name: String| cut_to(MAX_PART_BYTES, name);
    match &request.identity {
        Identity::Anonymous => {
            format!("anonymous clients may not do {action}; present a client certificate or a token")
        }
        Identity::Certificate(certificate) => without(&named(certificate.subject.clone()), roles, action),
        Identity::Token(name) => without(&named(format!("the token {name}")), roles, action),
    }
}

fn without(who: &str, roles: &[&str], action: &str) -> String {
    let own: Vec<&str> = roles.iter().copied().filter(|role| *role != ANONYMOUS).collect();
    match own.as_slice() {
        [] => format!("{who} has no role here, and {action} needs one"),
        [role] => format!("{who} has the role {role}, which does not allow {action}"),
        roles => format!("{who} has the roles {}, which do not allow {action}", roles.join(", ")),
    }
}

fn taken_away(request: &Request, clause: &Clause<&str>, standing: &Standing) -> String {
    let action = &request.action;
    let why = match clause.reason {
        Some(reason) => reason.to_owned(),
        None => format!("{action} is not allowed meanwhile"),
    };
    let subject = cut_to(MAX_PART_BYTES, standing.subject.to_string());
    format!("{subject} is in {}: {why}", standing.severity.as_str())
}

#[cfg(test)]
mod tests;
