//! What can go wrong, in the words of the contract, and how each part of the house says it.
//! The status is chosen here and nowhere else; causes go to the log, never into an answer.

mod dialect;

pub(crate) use dialect::Dialect;

use std::borrow::Cow;
use std::error::Error as StdError;

use pipeline::failure::Failure;
use pipeline::parameters::Invalid;
use poem::error::{MethodNotAllowedError, NotFoundError, ParseMultipartError, ReadBodyError, ResponseError};
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::error::{AuthorizationError, ContentTypeError, ParseParamError, ParsePathError};
use poem_openapi::registry::{MetaResponses, Registry};
use storage::error::{Conflict, Error as StorageError};

pub(crate) type Result<T> = std::result::Result<T, ApiError>;

/// What a refusal is about. Each has one status, and one code in each dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    ValidationError,
    WrongCredentials,
    TokenExpired,
    Unauthorized,
    Forbidden,
    /// The path is no route of ours.
    UnknownPath,
    NotFound,
    MethodNotAllowed,
    Conflict,
    ModelUnavailable,
    PayloadTooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    RateLimitExceeded,
    InternalError,
    ServiceUnavailable,
    InsufficientStorage,
}

impl Code {
    /// As the paths under `/api/v1` have it.
    fn as_str(self) -> &'static str {
        match self {
            Self::ValidationError => "validation_error",
            Self::WrongCredentials | Self::TokenExpired | Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::UnknownPath | Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::ModelUnavailable => "model_unavailable",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::InternalError => "internal_error",
            Self::ServiceUnavailable => "service_unavailable",
            Self::InsufficientStorage => "insufficient_storage",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::ValidationError => StatusCode::BAD_REQUEST,
            Self::WrongCredentials | Self::TokenExpired | Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::UnknownPath | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::ModelUnavailable => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::RateLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// A refusal. Holds nothing that its reader may not see.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    code: Code,
    message: Cow<'static, str>,
    /// The sentence that `[voice-project]` clients read.
    detail: Cow<'static, str>,
    /// The fields at fault.
    invalid: Vec<Invalid>,
    /// Seconds after which the same request may pass.
    retry_after: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn invalid(field: impl Into<String>, issue: impl Into<String>) -> Self {
        Self::invalid_fields(vec![Invalid::new(field, issue)])
    }

    /// Each field that is at fault, once.
    pub(crate) fn invalid_fields(invalid: Vec<Invalid>) -> Self {
        Self {
            detail: "Bad Request".into(),
            invalid,
            ..Self::new(Code::ValidationError, "Invalid request parameters")
        }
    }

    /// No credentials came with the request.
    pub(crate) fn unauthenticated() -> Self {
        Self::unauthorized("Authentication credentials were not provided.")
    }

    /// The token or signature that came is none of ours, or was revoked.
    pub(crate) fn invalid_token() -> Self {
        Self::unauthorized("Invalid token.")
    }

    /// The token that came was ours, and has run out.
    pub(crate) fn expired_token() -> Self {
        Self { code: Code::TokenExpired, ..Self::invalid_token() }
    }

    /// One answer for an unknown address and a wrong password, so that neither can be told from the other.
    pub(crate) fn wrong_credentials() -> Self {
        let error = Self::new(Code::WrongCredentials, "Invalid email or password").with_challenge();
        Self { detail: "Invalid credentials".into(), ..error }
    }

    pub(crate) fn forbidden(message: &'static str) -> Self {
        let detail = "You do not have permission to perform this action.".into();
        Self { detail, ..Self::new(Code::Forbidden, message) }
    }

    pub(crate) fn not_found() -> Self {
        Self { detail: "Not found.".into(), ..Self::new(Code::NotFound, "Resource not found") }
    }

    /// The caller has had no such session with the voice agent.
    pub(crate) fn session_not_found() -> Self {
        Self { detail: "Session not found".into(), ..Self::not_found() }
    }

    /// No route of ours has this path.
    pub(crate) fn unknown_path() -> Self {
        Self { code: Code::UnknownPath, ..Self::not_found() }
    }

    /// What the body names does not exist, or is another's.
    pub(crate) fn missing(field: impl Into<String>) -> Self {
        let invalid = vec![Invalid::new(field, "names nothing that exists")];
        Self { invalid, ..Self::not_found() }
    }

    /// It is there, and lacks what is asked of it.
    pub(crate) fn lacking(field: &str, issue: &str) -> Self {
        Self { invalid: vec![Invalid::new(field, issue)], ..Self::not_found() }
    }

    /// `allow` is the value of the header that must come with it.
    pub(crate) fn method_not_allowed(allow: Option<HeaderValue>) -> Self {
        let error = Self::new(Code::MethodNotAllowed, "Method not allowed");
        allow.into_iter().fold(error, |error, allow| error.with_header(header::ALLOW, allow))
    }

    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Conflict, message)
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(Code::PayloadTooLarge, format!("The limit is {limit} bytes"))
    }

    pub(crate) fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UnsupportedMediaType, message)
    }

    /// A file that is nothing to work with; `issue` is a stable code, such as `media_truncated`.
    pub(crate) fn unusable_file(issue: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { invalid: vec![Invalid::new("file", issue)], ..Self::unsupported(message) }
    }

    /// None of the bytes asked for are in a body of `size` bytes.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let error = Self::new(Code::RangeNotSatisfiable, format!("The file has {size} bytes"));
        error.with_header(header::CONTENT_RANGE, number_header(format!("bytes */{size}")))
    }

    /// One more is admitted after so many seconds.
    pub(crate) fn too_many_requests(seconds: u64) -> Self {
        let error = Self::new(Code::RateLimitExceeded, "Too many requests, please try again later")
            .with_header(header::RETRY_AFTER, HeaderValue::from(seconds));
        Self { retry_after: Some(seconds), ..error }
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ServiceUnavailable, message)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// What this server could do, had it been told with what.
    pub(crate) fn not_configured(message: &'static str) -> Self {
        Self::new(Code::ServiceUnavailable, message)
    }

    pub(crate) fn insufficient_storage(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InsufficientStorage, message)
    }

    /// Logs the cause, here and once, and hides it.
    pub(crate) fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let cause = cause.into();
        tracing::error!(error = %chain(cause.as_ref()), "a request failed on our side");
        Self::unexpected()
    }

    /// Something failed on our side, and the log has it already.
    pub(crate) fn unexpected() -> Self {
        Self::new(Code::InternalError, "An unexpected error occurred")
    }

    /// Of one part of what was sent, such as `jobs[3]`: its fields are named as those of that part.
    pub(crate) fn within(self, part: &str) -> Self {
        let mut error = self.with_fields(|field| format!("{part}.{field}"));
        if error.invalid.is_empty() && error.status().is_client_error() {
            error.invalid.push(Invalid::new(part, error.message.clone()));
        }
        error
    }

    /// With the names of its fields changed.
    pub(crate) fn with_fields(mut self, rename: impl Fn(&str) -> String) -> Self {
        for invalid in &mut self.invalid {
            invalid.field = rename(&invalid.field);
        }
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The answer, in the dialect of `path`.
    pub(crate) fn render(&self, path: &str) -> Response {
        let body = Dialect::of(path).body(self, path);
        let mut response = poem::web::Json(body).with_status(self.status()).into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }

    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { code, detail: message.clone(), message, invalid: vec![], retry_after: None, headers: vec![] }
    }

    fn unauthorized(detail: &'static str) -> Self {
        let error = Self::new(Code::Unauthorized, "Invalid or expired token").with_challenge();
        Self { detail: detail.into(), ..error }
    }

    fn with_challenge(self) -> Self {
        self.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.code.status()
    }
}

/// Which operation answers which of them, the document says: see [`crate::document`].
impl ApiResponse for ApiError {
    fn meta() -> MetaResponses {
        MetaResponses { responses: vec![] }
    }

    fn register(_: &mut Registry) {}
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.field, invalid.issue)
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound => Self::not_found(),
            StorageError::Forbidden => Self::forbidden("You do not have permission to perform this action"),
            StorageError::Conflict(conflict) => Self::conflict(sentence(&conflict)),
            StorageError::Input { field, issue } => Self::invalid(field, issue),
            StorageError::MissingInput { field } => Self::missing(field),
            StorageError::OfJob { index, error } => Self::from(*error).within(&format!("jobs[{index}]")),
            StorageError::QuotaExceeded { quota, used } => Self::insufficient_storage(format!(
                "Your files take {used} of {quota} bytes. Delete some, or ask for a larger quota."
            )),
            StorageError::Full => Self::insufficient_storage("The server has no room left for files."),
            StorageError::Internal(cause) => Self::internal(cause),
        }
    }
}

/// What the engines or the probe said about a request that they could not serve.
impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure.code.as_str() {
            "model_unavailable" => Self::new(Code::ModelUnavailable, failure.message),
            "not_found" => Self::not_found(),
            "service_unavailable" => Self::unavailable(failure.message),
            code if failure.retryable => {
                tracing::warn!(code, "an engine or the probe failed for a request: {}", failure.message);
                Self::unavailable("The server cannot do this now. Try again shortly.")
            }
            _ => Self { detail: "Bad Request".into(), ..Self::new(Code::ValidationError, failure.message) },
        }
    }
}

/// Everything that poem and its extractors refuse by themselves.
impl From<poem::Error> for ApiError {
    fn from(error: poem::Error) -> Self {
        if let Some(ours) = error.downcast_ref::<Self>() {
            return ours.clone();
        }
        if error.is::<NotFoundError>() {
            return Self::unknown_path();
        }
        if error.is::<ParsePathError>() || error.is::<poem::error::ParsePathError>() {
            return Self::not_found();
        }
        if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
            return Self::invalid(*name, parameter_issue(reason));
        }
        if error.is::<AuthorizationError>() {
            return Self::unauthenticated();
        }
        if error.is::<MethodNotAllowedError>() {
            return Self::method_not_allowed(None);
        }
        if error.is::<ContentTypeError>() {
            return Self::unsupported("This Content-Type is not accepted here");
        }
        if error.is::<ParseMultipartError>() {
            return Self::invalid("body", "is not well-formed multipart/form-data");
        }
        if error.is::<ReadBodyError>() {
            return Self::invalid("body", "could not be read to its end");
        }
        match error.status() {
            StatusCode::NOT_FOUND => Self::not_found(),
            status if status.is_client_error() => Self::invalid("request", "could not be understood"),
            _ => Self::internal(error.to_string()),
        }
    }
}

fn sentence(conflict: &Conflict) -> &'static str {
    match conflict {
        Conflict::EmailTaken => "An account with this email exists already",
        Conflict::NameTaken => "Somebody else has this identity in this room",
        Conflict::FileInUse => "A job that is not finished needs this file",
        Conflict::JobFinished => "The job is finished already",
        Conflict::JobNotFailed => "Only a failed job can be retried",
        Conflict::IdempotencyKeyReused => "This Idempotency-Key was used with another request",
        Conflict::VoiceTooLong => {
            "The voice is longer than the picture. Send extend: \"freeze\" to hold the last frame."
        }
        Conflict::UploadIncomplete => "Parts of the upload are missing",
        Conflict::ChecksumMismatch => "The bytes received do not have the sha256 that was announced",
        Conflict::RoomLive => "The room has a live session already",
        Conflict::SessionNotScheduled => "Only a scheduled session can be started or cancelled",
        Conflict::SessionNotLive => "The session is not live",
        Conflict::NotJoined => "Join the session first",
        Conflict::OwnerIsHost => "The owner of the room stays its host",
        Conflict::ScreenTaken => "Somebody else shares their screen",
        Conflict::ScreenFree => "Nobody shares their screen",
        Conflict::AgentExists => "An agent of this name exists already",
        Conflict::CampaignLaunched => "The campaign is active already",
        Conflict::CampaignActive => "The campaign is active: pause it first",
        Conflict::CampaignNotActive => "Only an active campaign can be paused",
        Conflict::CampaignOver => "The end of the campaign has passed",
        Conflict::CampaignWithoutAgent => "The campaign has no active agent",
        Conflict::RecordingRuns => "The session is recorded already",
        Conflict::NotRecording => "The session is not being recorded",
        Conflict::NotPaused => "The recording is not paused",
        Conflict::RecordingStopped => "The recording has stopped already",
        Conflict::ConversationOver => "The conversation is over",
    }
}

/// poem-openapi speaks of its own types; its readers should not have to.
fn parameter_issue(reason: &str) -> String {
    if reason.contains("expects an input value") {
        return "is required".to_owned();
    }
    if let Some(rule) = reason.strip_prefix("verification failed. ") {
        return format!("must satisfy {rule}");
    }
    let reason = reason.split_once(" (occurred while parsing").map_or(reason, |(issue, _)| issue);
    match reason.split_once("\": ") {
        Some((prefix, rest)) if prefix.starts_with("failed to parse") => rest.to_owned(),
        _ => reason.to_owned(),
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

fn number_header(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).expect("digits are legal in a header. This is a bug.")
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;
    use storage::error::Error as StorageError;

    use pipeline::failure::Failure;

    use super::ApiError;

    #[tokio::test]
    async fn what_is_away_for_now_says_what_to_do_and_when() {
        let message = async |failure| {
            let response = ApiError::from(failure).render("/api/v1/x");
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.header("retry-after"), Some("5"));
            response.into_body().into_string().await.unwrap()
        };
        let told = message(Failure::transient("service_unavailable", "All workers are busy.")).await;
        assert!(told.contains("\"service_unavailable\"") && told.contains("All workers are busy."), "{told}");
        let hidden = message(Failure::transient("media_child_lost", "signal 9")).await;
        assert!(!hidden.contains("signal"), "{hidden}");
    }

    #[tokio::test]
    async fn causes_stay_inside() {
        let cause = Box::<dyn std::error::Error + Send + Sync>::from(
            "UNIQUE constraint failed: users.email at /srv/db",
        );
        let error = ApiError::from(StorageError::Internal(cause));
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        for path in ["/api/v1/x", "/agents/x", "/x"] {
            let body = error.render(path).into_body().into_string().await.unwrap();
            assert!(!body.contains("users") && !body.contains("/srv"), "{body}");
        }
    }
}
