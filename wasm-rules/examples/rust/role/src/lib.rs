//! Allows the staff of one organisation every action and all other clients to read; and no client may report
//! work chunks while a disk is in alert.

use serde::{Deserialize, Serialize};
use watchpost_rule::role::{Decision, Identity, Manifest, Request, Rule, Severity, Standing};
use watchpost_rule::{Plan, Problem};

struct Staff;
watchpost_rule::role!(Staff);

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    organisation: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            organisation: "Watchpost".to_owned(),
        }
    }
}

impl Rule for Staff {
    type Settings = Settings;
    type Prepared<'p> = Settings;

    fn describe() -> Manifest {
        Manifest {
            name: "staff".to_owned(),
            version: "1.0.0".to_owned(),
            description: "Allows the staff of one organisation every action, and all other clients to read.".to_owned(),
            settings_schema: r#"{"properties": {"organisation": {"type": "string", "default": "Watchpost"}}}"#
                .to_owned(),
        }
    }

    fn plan(settings: Settings, _actions: &[String]) -> Result<Plan, Vec<Problem>> {
        if settings.organisation.trim().is_empty() {
            return Err(vec![Problem::new(
                "/organisation",
                "name the organisation, as the O of its certificates does",
            )]);
        }
        // `decide` gets the findings about disks that are not ok.
        Ok(Plan::new(["disk"], &settings).with_effective_settings(&settings))
    }

    fn decide(request: Request, standings: Vec<Standing>, settings: Settings) -> Result<Decision, String> {
        let role = if is_staff(&request.identity, &settings.organisation) {
            "staff"
        } else {
            "guest"
        };
        let action = &request.action;
        let reason = if role == "guest" && !action.ends_with(".read") {
            format!(
                "{action} is for the staff of {}: show a certificate with that O",
                settings.organisation
            )
        } else if let Some(full) = standings.iter().find(|standing| standing.severity == Severity::Alert)
            && action == "chunks.write"
        {
            format!("{} is in alert: make room before you report chunks", full.subject)
        } else {
            String::new()
        };
        Ok(Decision {
            allowed: reason.is_empty(),
            roles: vec![role.to_owned()],
            reason,
        })
    }
}

fn is_staff(identity: &Identity, organisation: &str) -> bool {
    // Compares parsed attributes, because a value in the text of the subject may look like another attribute.
    matches!(identity, Identity::Certificate(certificate) if certificate
        .subject_attributes
        .iter()
        .any(|attribute| attribute.name == "O" && attribute.value == organisation))
}
