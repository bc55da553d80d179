//! What Azure says when it does not answer, as sentences that help. It knows the shapes of errors, and does nothing
//! about them.

use serde_json::Value;

/// A gap's reason is cut at 500 bytes, and what we say about Azure's words comes before them.
const MAX_MESSAGE_CHARS: usize = 300;

/// An answer that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AzureError {
    pub(super) status: u16,
    /// Azure's word for it, `AuthorizationFailed`; empty if there is none.
    code: String,
    /// What it says, whole and on one line.
    message: String,
}

impl AzureError {
    /// Reads any of the shapes: that of Azure Resource Manager, the flat one of its metrics, that of tokens, and what a
    /// proxy says.
    pub(super) fn read(status: u16, body: &str) -> Self {
        let parsed: Value = serde_json::from_str(body).unwrap_or_default();
        let error = Some(&parsed["error"])
            .filter(|error| error.is_object())
            .unwrap_or(&parsed);
        let text = |names: [&str; 2]| names.iter().find_map(|name| error[*name].as_str()).map(one_line);
        let code = text(["code", "Code"]).or_else(|| error["error"].as_str().map(one_line));
        let message = text(["message", "Message"]).or_else(|| error["error_description"].as_str().map(one_line));
        // What is no JSON is a page or a line by someone between us and Azure.
        let page = || {
            if parsed.is_null() {
                one_line(body)
            } else {
                String::new()
            }
        };
        Self {
            status,
            code: code.unwrap_or_default(),
            message: message.unwrap_or_else(page),
        }
    }

    /// Whether somebody is overloaded and wants to be left alone.
    pub(super) fn wants_us_to_wait(&self) -> bool {
        matches!(self.status, 429 | 503 | 529)
    }

    /// Which of these metrics the resource does not have, if that is why.
    pub(super) fn unknown_names(&self, asked: &[String]) -> Vec<String> {
        let dense = |text: &str| text.to_lowercase().replace(", ", ",");
        // In lower case before it is searched: where one is found the other is cut.
        let message = dense(&self.message);
        let Some((_, valid)) = message.split_once("valid metrics:").filter(|_| self.status == 400) else {
            return Vec::new();
        };
        let valid = format!(",{},", valid.trim().trim_end_matches('.'));
        let is_unknown = |name: &&String| !valid.contains(&format!(",{},", dense(name)));
        asked.iter().filter(is_unknown).cloned().collect()
    }

    /// Why a metric that Azure does not have is missing. The list of those that it has is left out; it is long.
    pub(super) fn of_unknown(&self, name: &str) -> String {
        let end = self.message.find("Valid metrics:").unwrap_or(self.message.len());
        let message = beginning(self.message[..end].trim_end_matches([' ', ',']), MAX_MESSAGE_CHARS);
        format!(
            "Azure has no metric \"{name}\" here ({}: {message}); check its name and namespace in azure.metrics",
            self.kind()
        )
    }

    /// Why a question about metrics was not answered.
    pub(super) fn of_metrics(&self, scope: &str) -> String {
        match self.status {
            403 => self.forbidden(scope),
            401 => format!(
                "Azure does not take our token, nor a new one ({}); check that the tenant is that of the subscription, \
                 and that azure.endpoints fit together",
                self.words()
            ),
            404 => format!(
                "Azure does not find {scope} ({}); check the id in azure.resources, or take out what was deleted",
                self.words()
            ),
            429 => format!("Azure wants fewer questions ({})", self.words()),
            400 => format!(
                "Azure does not understand the question ({}); check the name, namespace and aggregation in \
                 azure.metrics",
                self.words()
            ),
            300..400 => format!(
                "a redirection came instead of an answer ({}); check azure.endpoints",
                self.words()
            ),
            500.. => format!("Azure has trouble of its own ({})", self.words()),
            _ => format!("Azure refuses to answer ({})", self.words()),
        }
    }

    /// Why there is no token.
    pub(super) fn of_token(&self, whose: &str) -> String {
        let remedy = if self.message.contains("AADSTS7000222") {
            "; the client secret has ended, make a new one"
        } else if self.message.contains("AADSTS7000215") {
            "; give the secret's value, not its id"
        } else if self.message.contains("AADSTS700016") {
            "; the tenant has no such application, check client_id and tenant_id"
        } else if self.message.contains("AADSTS700027") {
            "; register the certificate with the application"
        } else if self.message.contains("Identity not found") {
            "; assign an identity to the machine, or check client_id"
        } else {
            ""
        };
        format!("{whose} gives no token ({}){remedy}", self.words())
    }

    /// Which role is missing, of whom, on what. Azure says it in a sentence with quotes.
    fn forbidden(&self, scope: &str) -> String {
        let quoted = |after: &str| {
            let (_, rest) = self.message.split_once(after)?;
            let (quoted, _) = rest.split_once('\'')?;
            Some(quoted)
        };
        let principal = match (quoted("object id '"), quoted("client '")) {
            (Some(object), Some(client)) if object != client => format!("the principal {object} (client {client})"),
            (Some(object), _) => format!("the principal {object}"),
            (None, Some(client)) => format!("the client {client}"),
            (None, None) => "our principal".to_owned(),
        };
        // Azure names a scope below the resource, where nobody assigns roles.
        let scope = quoted("over scope '").map_or(scope, resource_of);
        format!(
            "{principal} may not read metrics; assign it the role Monitoring Reader on {scope} ({})",
            self.kind()
        )
    }

    fn kind(&self) -> String {
        match self.code.as_str() {
            "" => self.status.to_string(),
            code => format!("{} {}", self.status, beginning(code, 80)),
        }
    }

    fn words(&self) -> String {
        match self.message.as_str() {
            "" => self.kind(),
            message => format!("{}: {}", self.kind(), beginning(message, MAX_MESSAGE_CHARS)),
        }
    }
}

/// The resource itself, without the provider of metrics that Azure puts behind it.
fn resource_of(scope: &str) -> &str {
    let lower = scope.to_ascii_lowercase();
    lower
        .find("/providers/microsoft.insights/")
        .map_or(scope, |end| &scope[..end])
}

/// As it may stand in a sentence: on one line, without a full stop, and without what only Microsoft can use.
pub(super) fn one_line(text: &str) -> String {
    let text = text.split("Trace ID:").next().unwrap_or_default();
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let plain: String = text.chars().map(plain).collect();
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// The beginning of a text, and that there was more.
pub(super) fn beginning(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";

    #[test]
    fn every_shape_of_error_is_read() {
        let check = |body: &str, code: &str, message: &str| {
            let refusal = AzureError::read(400, body);
            assert_eq!(
                (refusal.code.as_str(), refusal.message.as_str()),
                (code, message),
                "{body}"
            );
        };
        check(r#"{"error":{"code":"A","message":"it is.\r\nSo."}}"#, "A", "it is. So");
        check(r#"{"code":"BadRequest","message":"no"}"#, "BadRequest", "no");
        check(r#"{"Code":"BadRequest","Message":"no"}"#, "BadRequest", "no");
        let entra = r#"{"error":"invalid_client","error_description":"AADSTS7: no.\r\nTrace ID: 5","error_codes":[7]}"#;
        check(entra, "invalid_client", "AADSTS7: no");
        check("<html>\n Bad Gateway</html>", "", "<html> Bad Gateway</html>");
        check("", "", "");
        check("[]", "", "");
        check("{\"error\":{\"code\":5}}", "", "");
    }

    #[test]
    fn a_missing_role_is_named_with_its_scope_and_its_principal() {
        let body = format!(
            "{{\"error\":{{\"code\":\"AuthorizationFailed\",\"message\":\"The client 'c-1' with object id 'o-1' does \
             not have authorization to perform action 'Microsoft.Insights/metrics/read' over scope \
             '{SCOPE}/providers/Microsoft.Insights/metrics' or the scope is invalid.\"}}}}"
        );
        assert_eq!(
            AzureError::read(403, &body).of_metrics("elsewhere"),
            format!(
                "the principal o-1 (client c-1) may not read metrics; assign it the role Monitoring Reader on {SCOPE} \
                 (403 AuthorizationFailed)"
            )
        );
        let silent = AzureError::read(403, "").of_metrics(SCOPE);
        assert!(silent.contains("our principal") && silent.contains(SCOPE), "{silent}");
    }

    #[test]
    fn metrics_that_a_resource_does_not_have_are_told_from_those_that_it_has() {
        let asked = ["Percentage CPU", "Gone", "a,b"].map(str::to_owned);
        let unknown = |status, message: &str| {
            let body = serde_json::json!({ "code": "BadRequest", "message": message }).to_string();
            AzureError::read(status, &body).unknown_names(&asked)
        };
        let message = "Failed to find metric configuration for provider: Microsoft.Compute, resource Type: \
                       virtualMachines, metric: Gone, Valid metrics: percentage cpu, a,b,Other.";
        assert_eq!(unknown(400, message), ["Gone"]);
        assert_eq!(unknown(404, message), [""; 0]);
        assert_eq!(unknown(400, "it is bad"), [""; 0]);
        assert_eq!(unknown(400, "Valid metrics: "), asked);
        // A letter that grows in lower case must not move the place that is cut.
        assert_eq!(unknown(400, "İİİ Valid metrics: Percentage CPU,a,b"), ["Gone"]);
    }

    #[test]
    fn the_list_of_all_other_metrics_is_not_repeated() {
        let body = r#"{"code":"BadRequest","message":"Failed to find it, metric: X, Valid metrics: a,b"}"#;
        assert_eq!(
            AzureError::read(400, body).of_unknown("X"),
            "Azure has no metric \"X\" here (400 BadRequest: Failed to find it, metric: X); check its name and \
             namespace in azure.metrics"
        );
    }

    #[test]
    fn what_helps_is_said_for_each_status() {
        let says = |status, words: &str| {
            let sentence = AzureError::read(status, r#"{"code":"X","message":"why"}"#).of_metrics(SCOPE);
            assert!(sentence.contains(words) && sentence.contains("X: why"), "{sentence}");
        };
        says(400, "azure.metrics");
        says(401, "tenant");
        says(404, "azure.resources");
        says(429, "fewer questions");
        says(302, "azure.endpoints");
        says(500, "trouble");
        says(529, "trouble");
        says(418, "refuses");
    }

    #[test]
    fn a_long_page_is_cut() {
        let sentence = AzureError::read(502, &"ä".repeat(10_000)).of_metrics(SCOPE);
        assert!(sentence.len() < 1000 && sentence.contains('…'), "{sentence}");
    }
}
