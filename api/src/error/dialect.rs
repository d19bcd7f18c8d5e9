//! How each document says an error: one body a dialect, and the dialect follows the path.

use chrono::{SecondsFormat, Utc};
use pipeline::parameters::Invalid;
use serde_json::{Map, Value, json};

use super::{ApiError, Code};

/// How the paths of each document say an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"error", "message", "details"?, "detail"}`
    Coded,
    /// `{"success", "data", "error": {"code", "message", "details"}, "timestamp"}`
    Enveloped,
    /// `{"detail"}`, or the fields
    Detail,
}

impl Dialect {
    pub(crate) fn of(path: &str) -> Self {
        let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
        match (parts.next().unwrap_or_default(), parts.next()) {
            ("api", Some("v1")) => Self::Coded,
            ("auth" | "agents" | "campaigns" | "call-logs" | "call-recordings" | "analytics", _) => {
                Self::Enveloped
            }
            _ => Self::Detail,
        }
    }

    pub(super) fn body(self, error: &ApiError, path: &str) -> Value {
        let mut body = match self {
            Self::Coded => coded(error),
            Self::Enveloped => enveloped(error, Subject::of(error, path)),
            Self::Detail => detailed(error),
        };
        if let Some(seconds) = error.retry_after {
            body["retry_after"] = json!(seconds);
        }
        body
    }
}

fn coded(error: &ApiError) -> Value {
    let mut body = json!({"error": error.code.as_str(), "message": error.message, "detail": error.detail});
    if let Some(Invalid { field, issue }) = error.invalid.first() {
        body["details"] = json!({"field": field, "issue": issue});
    }
    body
}

fn detailed(error: &ApiError) -> Value {
    if error.invalid.is_empty() {
        return json!({"detail": error.detail});
    }
    let fields = error.invalid.iter().map(|Invalid { field, issue }| (field.clone(), json!([issue])));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn enveloped(error: &ApiError, subject: Subject) -> Value {
    let (code, message) = entry(error.code, subject);
    json!({
        "success": false,
        "data": null,
        "error": {"code": code, "message": message, "details": details(error)},
        "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
    })
}

/// What was not found, or stands in the way: the table has codes of its own for each.
#[derive(Clone, Copy)]
enum Subject {
    Account,
    Agent,
    Campaign,
    Call,
    Other,
}

impl Subject {
    /// What the field at fault names, else what the path is about.
    fn of(error: &ApiError, path: &str) -> Self {
        match error.invalid.first().map(|invalid| invalid.field.as_str()) {
            Some("agent_id") => return Self::Agent,
            Some("campaign_id") => return Self::Campaign,
            Some("call_id") => return Self::Call,
            Some(_) | None => {}
        }
        match path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default() {
            "auth" => Self::Account,
            "agents" => Self::Agent,
            "campaigns" => Self::Campaign,
            "call-logs" | "call-recordings" => Self::Call,
            _ => Self::Other,
        }
    }
}

/// The table of codes: the code and its meaning. Those from `REQUEST_006` on, `CALL_002` and `SERVER_003` are ours.
fn entry(code: Code, subject: Subject) -> (&'static str, &'static str) {
    match code {
        Code::WrongCredentials => ("AUTH_001", "Invalid credentials"),
        Code::TokenExpired => ("AUTH_002", "Token expired"),
        Code::Unauthorized => ("AUTH_003", "Token invalid"),
        Code::Forbidden => ("AUTH_004", "Permission denied"),
        Code::NotFound => match subject {
            Subject::Agent => ("AGENT_001", "Agent not found"),
            Subject::Campaign => ("CAMPAIGN_001", "Campaign not found"),
            Subject::Call => ("CALL_001", "Call log not found"),
            Subject::Account | Subject::Other => ("REQUEST_002", "Not found"),
        },
        Code::Conflict => match subject {
            Subject::Account => ("AUTH_005", "Email already registered"),
            Subject::Agent => ("AGENT_002", "Agent already exists"),
            Subject::Campaign => ("CAMPAIGN_002", "Cannot launch campaign"),
            Subject::Call => ("CALL_002", "Call log in conflict"),
            Subject::Other => ("REQUEST_006", "Conflict"),
        },
        Code::ValidationError => ("REQUEST_001", "Invalid request"),
        Code::UnknownPath => ("REQUEST_002", "Not found"),
        Code::MethodNotAllowed => ("REQUEST_003", "Method not allowed"),
        Code::PayloadTooLarge => ("REQUEST_004", "Payload too large"),
        Code::UnsupportedMediaType => ("REQUEST_005", "Unsupported media type"),
        Code::ModelUnavailable => ("REQUEST_006", "Conflict"),
        Code::RangeNotSatisfiable => ("REQUEST_007", "Range not satisfiable"),
        Code::RateLimitExceeded => ("RATE_001", "Too many requests"),
        Code::InternalError => ("SERVER_001", "Internal server error"),
        Code::ServiceUnavailable => ("SERVER_002", "Service unavailable"),
        Code::InsufficientStorage => ("SERVER_003", "Insufficient storage"),
    }
}

/// What the table does not say already. Of a failed log-in nothing: it would tell which addresses have accounts.
fn details(error: &ApiError) -> Option<String> {
    if !error.invalid.is_empty() {
        let fields = error.invalid.iter().map(|Invalid { field, issue }| format!("{field}: {issue}"));
        return Some(fields.collect::<Vec<_>>().join("; "));
    }
    match error.code {
        Code::WrongCredentials
        | Code::TokenExpired
        | Code::UnknownPath
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::InternalError => None,
        Code::Unauthorized => Some(error.detail.to_string()),
        Code::ValidationError
        | Code::Forbidden
        | Code::Conflict
        | Code::ModelUnavailable
        | Code::PayloadTooLarge
        | Code::UnsupportedMediaType
        | Code::RangeNotSatisfiable
        | Code::RateLimitExceeded
        | Code::ServiceUnavailable
        | Code::InsufficientStorage => Some(error.message.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::parameters::Invalid;
    use serde_json::{Value, json};

    use super::ApiError;

    async fn rendered(error: &ApiError, path: &str) -> Value {
        error.render(path).into_body().into_json().await.unwrap()
    }

    async fn enveloped(error: ApiError, path: &str) -> [Value; 3] {
        let mut body = rendered(&error, path).await;
        assert_eq!((&body["success"], &body["data"]), (&json!(false), &Value::Null));
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 4 + usize::from(error.retry_after.is_some()));
        ["code", "message", "details"].map(|name| body["error"][name].take())
    }

    #[tokio::test]
    async fn the_dialect_follows_the_path() {
        let error = ApiError::invalid("email", "Invalid email format");
        assert_eq!(
            rendered(&error, "/api/v1/auth/register").await,
            json!({
                "error": "validation_error",
                "message": "Invalid request parameters",
                "details": {"field": "email", "issue": "Invalid email format"},
                "detail": "Bad Request",
            })
        );
        assert_eq!(rendered(&error, "/token").await, json!({"email": ["Invalid email format"]}));
        assert_eq!(
            enveloped(error, "/auth/register").await,
            [json!("REQUEST_001"), json!("Invalid request"), json!("email: Invalid email format")]
        );
        let not_found = ApiError::not_found();
        for path in ["/nowhere", "/", "/agentsx", "/api/auth/me", "/api/agents"] {
            assert_eq!(rendered(&not_found, path).await, json!({"detail": "Not found."}), "{path}");
        }
        assert_eq!(
            rendered(&not_found, "/api/v1/files/1").await,
            json!({"error": "not_found", "message": "Resource not found", "detail": "Not found."})
        );
    }

    #[tokio::test]
    async fn fields_at_fault_are_all_named_where_the_dialect_can() {
        let faults = vec![Invalid::new("email", "is taken"), Invalid::new("password", "is short")];
        let error = ApiError::invalid_fields(faults);
        assert_eq!(
            rendered(&error, "/api/auth/register").await,
            json!({"email": ["is taken"], "password": ["is short"]})
        );
        let [_, _, details] = enveloped(error, "/auth/register").await;
        assert_eq!(details, "email: is taken; password: is short");
    }

    #[tokio::test]
    async fn the_table_of_codes_holds() {
        for (error, path, code, message) in [
            (ApiError::wrong_credentials(), "/auth/login", "AUTH_001", "Invalid credentials"),
            (ApiError::expired_token(), "/agents", "AUTH_002", "Token expired"),
            (ApiError::invalid_token(), "/agents", "AUTH_003", "Token invalid"),
            (ApiError::unauthenticated(), "/analytics/calls", "AUTH_003", "Token invalid"),
            (ApiError::forbidden("Not you"), "/campaigns/1/launch", "AUTH_004", "Permission denied"),
            (ApiError::conflict("Taken"), "/auth/register", "AUTH_005", "Email already registered"),
            (ApiError::not_found(), "/agents/1", "AGENT_001", "Agent not found"),
            (ApiError::conflict("Taken"), "/agents", "AGENT_002", "Agent already exists"),
            (ApiError::not_found(), "/campaigns/1", "CAMPAIGN_001", "Campaign not found"),
            (ApiError::missing("agent_id"), "/campaigns", "AGENT_001", "Agent not found"),
            (ApiError::conflict("Over"), "/campaigns/1/launch", "CAMPAIGN_002", "Cannot launch campaign"),
            (ApiError::not_found(), "/call-logs/1", "CALL_001", "Call log not found"),
            (ApiError::not_found(), "/call-recordings/1", "CALL_001", "Call log not found"),
            (ApiError::unknown_path(), "/agents/1/2", "REQUEST_002", "Not found"),
            (ApiError::method_not_allowed(None), "/agents", "REQUEST_003", "Method not allowed"),
            (ApiError::too_large(1), "/agents", "REQUEST_004", "Payload too large"),
            (ApiError::unsupported("No"), "/agents", "REQUEST_005", "Unsupported media type"),
            (ApiError::too_many_requests(5), "/agents", "RATE_001", "Too many requests"),
            (ApiError::unexpected(), "/agents", "SERVER_001", "Internal server error"),
            (ApiError::unavailable("Later"), "/agents", "SERVER_002", "Service unavailable"),
        ] {
            let [found, said, _] = enveloped(error, path).await;
            assert_eq!((found, said), (json!(code), json!(message)), "{path}");
        }
        let [_, _, details] = enveloped(ApiError::wrong_credentials(), "/auth/login").await;
        assert_eq!(details, Value::Null);
        let [_, _, details] = enveloped(ApiError::unauthenticated(), "/agents").await;
        assert_eq!(details, "Authentication credentials were not provided.");
    }
}
