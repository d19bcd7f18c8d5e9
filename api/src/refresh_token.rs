//! A refresh token, as it comes with a request.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSecurityScheme, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use storage::audit::EventKind;
use storage::ids::UserId;

use crate::app::App;
use crate::body;
use crate::caller;
use crate::dto::auth::RefreshRequest;
use crate::error::{ApiError, Result};

/// A refresh token, as Bearer or in the body.
pub(crate) struct SentRefreshToken(pub(crate) String);

impl<'a> ApiExtractor<'a> for SentRefreshToken {
    const TYPES: &'static [ApiExtractorType] =
        &[ApiExtractorType::RequestObject, ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        RefreshRequest::register(registry);
        registry.create_security_scheme(
            "RefreshToken",
            MetaSecurityScheme {
                description: Some("A refresh token"),
                scheme: Some("bearer"),
                ..caller::scheme("http")
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["RefreshToken"]
    }

    /// The body does without.
    fn has_security_fallback() -> bool {
        true
    }

    fn request_meta() -> Option<MetaRequest> {
        let media = MetaMediaType { content_type: "application/json", schema: RefreshRequest::schema_ref() };
        Some(MetaRequest { description: None, content: vec![media], required: false })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        // The body comes first: a client may send its access token as Bearer with every request.
        let bearer = caller::bearer(request).map(str::to_owned);
        match (body::read_optional_json(request, body).await?, bearer) {
            (Some(json), Some(token)) if json.get("refresh_token").is_none() => Ok(Self(token)),
            (Some(json), _) => Ok(Self(body::typed::<RefreshRequest>(json)?.value.refresh_token)),
            (None, Some(token)) => Ok(Self(token)),
            (None, None) => Err(ApiError::unauthenticated().into()),
        }
    }
}

/// The refusal of a token that was used before, which is put on record.
pub(crate) async fn reused(app: &App, request: &Request, user: UserId) -> Result<ApiError> {
    tracing::warn!("a refresh token was used twice; its login is revoked");
    app.record(request, EventKind::RefreshReused, Some(user)).await?;
    Ok(ApiError::invalid_token())
}
