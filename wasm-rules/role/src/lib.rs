//! The role rule that Watchpost brings: identities have roles, roles have actions, and `while` clauses take
//! actions away while something is not ok. What may be written is told in `settings`; here is the decision.

mod settings;

use watchpost_rule::Problem;
use watchpost_rule::role::{Decision, Identity, Manifest, Plan, Request, Rule, Standing};

pub use settings::Settings;
use settings::{Clause, Prepared};

/// The rule.
pub struct Roles;

watchpost_rule::role!(Roles);

/// The role that everyone has.
const ANYONE: &str = "anonymous";

impl Rule for Roles {
    type Settings = Settings;
    type Prepared = Prepared;

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

    fn plan(settings: Settings, actions: &[String]) -> Result<Plan<Prepared>, Vec<Problem>> {
        let prepared = settings.prepare(actions)?;
        let metrics = prepared.clauses.iter().map(|clause| match clause.metric.beginning() {
            (beginning, true) => format!("{beginning}*"),
            (name, false) => name.to_owned(),
        });
        Ok(Plan {
            metrics: metrics.collect(),
            settings: prepared,
        })
    }

    fn decide(request: Request, standings: Vec<Standing>, settings: Prepared) -> Result<Decision, String> {
        let mut roles = settings.roles_of(&request.identity);
        roles.push(ANYONE.to_owned());
        let granted = |role: &String| settings.grants(role, &request.action);
        if !roles.iter().any(granted) {
            return Ok(deny(not_granted(&request, &roles), roles));
        }
        let holding = settings.clauses.iter().find_map(|clause| {
            let standing = standings.iter().find(|standing| clause.holds(standing))?;
            clause.takes(&request.action, &roles).then_some((clause, standing))
        });
        match holding {
            Some((clause, standing)) => Ok(deny(taken_away(&request, clause, standing), roles)),
            None => Ok(Decision {
                allowed: true,
                roles,
                reason: String::new(),
            }),
        }
    }
}

fn deny(reason: String, roles: Vec<String>) -> Decision {
    Decision {
        allowed: false,
        roles,
        reason,
    }
}

fn not_granted(request: &Request, roles: &[String]) -> String {
    let action = &request.action;
    match &request.identity {
        Identity::Anonymous => {
            format!("anonymous clients may not do {action}; present a client certificate or a token")
        }
        Identity::Certificate(certificate) => without(&certificate.subject, roles, action),
        Identity::Token(name) => without(&format!("the token {name}"), roles, action),
    }
}

fn without(who: &str, roles: &[String], action: &str) -> String {
    let own: Vec<&str> = roles.iter().map(String::as_str).filter(|role| *role != ANYONE).collect();
    match own.as_slice() {
        [] => format!("{who} has no role here, and {action} needs one"),
        [role] => format!("{who} has the role {role}, which does not allow {action}"),
        roles => format!("{who} has the roles {}, which do not allow {action}", roles.join(", ")),
    }
}

fn taken_away(request: &Request, clause: &Clause, standing: &Standing) -> String {
    let action = &request.action;
    let why = match &clause.reason {
        Some(reason) => reason.clone(),
        None => format!("{action} is not allowed meanwhile"),
    };
    let severity = settings::word(standing.severity);
    format!("{} is in {severity}: {why}", settings::series(&standing.subject))
}

#[cfg(test)]
mod tests;
