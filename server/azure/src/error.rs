//! Parses the error responses of Azure and turns them into error messages with a remedy.

use serde_json::Value;

/// A gap's reason is truncated at 500 bytes, and the explanation comes before Azure's message.
const MAX_MESSAGE_CHARS: usize = 300;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AzureError {
    pub(crate) status: u16,
    /// Azure's error code, `AuthorizationFailed`; empty if there is none.
    code: String,
    /// The complete message, on one line.
    message: String,
}

impl AzureError {
    /// Parses all formats: that of Azure Resource Manager, the flat one of the metrics API, that of token
    /// endpoints, and pages of proxies.
    pub(crate) fn read(status: u16, body: &str) -> Self {
        let parsed: Value = serde_json::from_str(body).unwrap_or_default();
        let error = Some(&parsed["error"])
            .filter(|error| error.is_object())
            .unwrap_or(&parsed);
        let text = |names: [&str; 2]| names.iter().find_map(|name| error[*name].as_str()).map(one_line);
        let code = text(["code", "Code"]).or_else(|| error["error"].as_str().map(one_line));
        let message = text(["message", "Message"]).or_else(|| error["error_description"].as_str().map(one_line));
        // A body that is not JSON comes from a proxy between here and Azure.
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

    /// Whether the endpoint is throttled or overloaded and must not be retried at once.
    pub(crate) fn is_throttled(&self) -> bool {
        matches!(self.status, 429 | 503 | 529)
    }

    /// The metrics among those requested that the resource does not have, if that is the error.
    pub(crate) fn unknown_names(&self, requested: &[String]) -> Vec<String> {
        let dense = |text: &str| text.to_lowercase().replace(", ", ",");
        // Lower-cased before the search, because the found offset is used to split the text.
        let message = dense(&self.message);
        let Some((_, valid)) = message.split_once("valid metrics:").filter(|_| self.status == 400) else {
            return Vec::new();
        };
        let valid = format!(",{},", valid.trim().trim_end_matches('.'));
        let is_unknown = |name: &&String| !valid.contains(&format!(",{},", dense(name)));
        requested.iter().filter(is_unknown).cloned().collect()
    }

    /// The reason for a metric that Azure does not have. Azure's long list of valid metrics is omitted.
    pub(crate) fn of_unknown(&self, name: &str) -> String {
        let end = self.message.find("Valid metrics:").unwrap_or(self.message.len());
        let message = beginning(self.message[..end].trim_end_matches([' ', ',']), MAX_MESSAGE_CHARS);
        format!(
            "Azure has no metric \"{name}\" here ({}: {message}); check its name and namespace in azure.metrics",
            self.kind()
        )
    }

    /// The reason for a failed metrics query.
    pub(crate) fn of_metrics(&self, scope: &str) -> String {
        match self.status {
            403 => self.forbidden(scope),
            401 => format!(
                "Azure rejects the token, also after renewal ({}); check that the tenant is that of the subscription, \
                 and that azure.endpoints are consistent",
                self.details()
            ),
            404 => format!(
                "Azure does not find {scope} ({}); check the id in azure.resources, or remove the deleted resource",
                self.details()
            ),
            429 => format!("Azure throttles requests ({})", self.details()),
            400 => format!(
                "Azure rejects the query ({}); check the name, namespace and aggregation in \
                 azure.metrics",
                self.details()
            ),
            300..400 => format!("unexpected redirect ({}); check azure.endpoints", self.details()),
            500.. => format!("server error of Azure ({})", self.details()),
            _ => format!("unexpected response of Azure ({})", self.details()),
        }
    }

    /// The reason for a failed token request.
    pub(crate) fn of_token(&self, credentials: &str) -> String {
        let remedy = if self.message.contains("AADSTS7000222") {
            "; the client secret has expired, create a new one"
        } else if self.message.contains("AADSTS7000215") {
            "; set client_secret to the secret's value, not its id"
        } else if self.message.contains("AADSTS700016") {
            "; the tenant has no such application, check client_id and tenant_id"
        } else if self.message.contains("AADSTS700027") {
            "; register the certificate with the application"
        } else if self.message.contains("Identity not found") {
            "; assign an identity to the machine, or check client_id"
        } else {
            ""
        };
        format!("no token from {credentials} ({}){remedy}", self.details())
    }

    /// Names the missing role, the principal and the scope, which Azure's message contains in quotes.
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
            (None, None) => "the principal".to_owned(),
        };
        // Azure names a scope below the resource, on which roles are not assigned.
        let scope = quoted("over scope '").map_or(scope, resource_of);
        format!(
            "{principal} is not allowed to read metrics; assign it the role Monitoring Reader on {scope} ({})",
            self.kind()
        )
    }

    fn kind(&self) -> String {
        match self.code.as_str() {
            "" => self.status.to_string(),
            code => format!("{} {}", self.status, beginning(code, 80)),
        }
    }

    fn details(&self) -> String {
        match self.message.as_str() {
            "" => self.kind(),
            message => format!("{}: {}", self.kind(), beginning(message, MAX_MESSAGE_CHARS)),
        }
    }
}

/// The resource, without the metrics provider that Azure appends.
fn resource_of(scope: &str) -> &str {
    let lower = scope.to_ascii_lowercase();
    lower
        .find("/providers/microsoft.insights/")
        .map_or(scope, |end| &scope[..end])
}

/// Text for a message: on one line, without a full stop, and without trace ids.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.split("Trace ID:").next().unwrap_or_default();
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let plain: String = text.chars().map(plain).collect();
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// The start of a text, with an ellipsis if it is truncated.
pub(crate) fn beginning(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";

    #[test]
    fn every_error_format_is_parsed() {
        let check = |body: &str, code: &str, message: &str| {
            let error = AzureError::read(400, body);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message), "{body}");
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
                "the principal o-1 (client c-1) is not allowed to read metrics; assign it the role Monitoring Reader on {SCOPE} \
                 (403 AuthorizationFailed)"
            )
        );
        let silent = AzureError::read(403, "").of_metrics(SCOPE);
        assert!(silent.contains("the principal") && silent.contains(SCOPE), "{silent}");
    }

    #[test]
    fn unknown_metrics_are_recognized() {
        let requested = ["Percentage CPU", "Missing", "a,b"].map(str::to_owned);
        let unknown = |status, message: &str| {
            let body = serde_json::json!({ "code": "BadRequest", "message": message }).to_string();
            AzureError::read(status, &body).unknown_names(&requested)
        };
        let message = "Failed to find metric configuration for provider: Microsoft.Compute, resource Type: \
                       virtualMachines, metric: Missing, Valid metrics: percentage cpu, a,b,Other.";
        assert_eq!(unknown(400, message), ["Missing"]);
        assert_eq!(unknown(404, message), [""; 0]);
        assert_eq!(unknown(400, "it is bad"), [""; 0]);
        assert_eq!(unknown(400, "Valid metrics: "), requested);
        // A letter that grows in lower case must not shift the split offset.
        assert_eq!(unknown(400, "İİİ Valid metrics: Percentage CPU,a,b"), ["Missing"]);
    }

    #[test]
    fn the_list_of_valid_metrics_is_omitted() {
        let body = r#"{"code":"BadRequest","message":"Failed to find it, metric: X, Valid metrics: a,b"}"#;
        assert_eq!(
            AzureError::read(400, body).of_unknown("X"),
            "Azure has no metric \"X\" here (400 BadRequest: Failed to find it, metric: X); check its name and \
             namespace in azure.metrics"
        );
    }

    #[test]
    fn each_status_has_a_remedy() {
        let check = |status, expected: &str| {
            let message = AzureError::read(status, r#"{"code":"X","message":"why"}"#).of_metrics(SCOPE);
            assert!(message.contains(expected) && message.contains("X: why"), "{message}");
        };
        check(400, "azure.metrics");
        check(401, "tenant");
        check(404, "azure.resources");
        check(429, "throttles");
        check(302, "azure.endpoints");
        check(500, "server error");
        check(529, "server error");
        check(418, "unexpected response");
    }

    #[test]
    fn a_long_page_is_truncated() {
        let message = AzureError::read(502, &"ä".repeat(10_000)).of_metrics(SCOPE);
        assert!(message.len() < 1000 && message.contains('…'), "{message}");
    }
}
