//! A JSON body: what it must be is in the document, and what is wrong with it is said by field.

use bytes::Bytes;
use pipeline::parameters::Invalid;
use poem::http::header;
use poem::{Request, RequestBody};
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use crate::error::ApiError;
use crate::{schema, strict_json};

/// Largest JSON body, in bytes: 200,000 characters, the longest text of a job, take up to 12 bytes each where a client
/// escapes them.
pub(crate) const LARGEST: usize = 4 << 20;

/// Extracts a `T`. Refuses another content type (415), more than [`LARGEST`] bytes (413), and whatever is not JSON
/// of the published schema (400, naming the field).
pub(crate) struct Body<T> {
    pub(crate) value: T,
    /// What was sent, without the nulls of optional fields; the same for two bodies that say the same.
    pub(crate) canonical: String,
}

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let media = MetaMediaType { content_type: "application/json", schema: T::schema_ref() };
        Some(MetaRequest { description: None, content: vec![media], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let value = read_json(request, body).await?;
        Ok(typed(value)?)
    }
}

/// Largest body of a batch, in bytes: 8 KiB for each of its 1,000 jobs.
const LARGEST_BATCH: usize = 8 << 20;

/// As [`Body`], of up to [`LARGEST_BATCH`] bytes, where each job of a list is named as `jobs[3]`.
pub(crate) struct BatchBody<T>(pub(crate) Body<T>);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for BatchBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Body::<T>::request_meta()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let value = read_json_within(request, body, LARGEST_BATCH).await;
        let typed = value.and_then(typed).map_err(|error| error.with_fields(in_brackets))?;
        Ok(Self(typed))
    }
}

/// `jobs.3.text` is `jobs[3].text`.
fn in_brackets(field: &str) -> String {
    let Some(rest) = field.strip_prefix("jobs.") else { return field.to_owned() };
    match rest.split_once('.') {
        Some((index, inner)) => format!("jobs[{index}].{inner}"),
        None => format!("jobs[{rest}]"),
    }
}

/// Extracts a `T` where there is a body, and refuses it as [`Body`] does; none where it is empty, of whatever type.
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for OptionalBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let media = MetaMediaType { content_type: "application/json", schema: T::schema_ref() };
        Some(MetaRequest { description: None, content: vec![media], required: false })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let value = read_optional_json(request, body).await?;
        Ok(Self(value.map(typed).transpose()?.map(|body: Body<T>| body.value)))
    }
}

/// Extracts the bytes of the body as they come, whatever their content type or none.
pub(crate) struct RawBody(pub(crate) poem::Body);

impl<'a> ApiExtractor<'a> for RawBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = Binary::<Vec<u8>>::schema_ref();
        let media = MetaMediaType { content_type: "application/octet-stream", schema };
        Some(MetaRequest { description: None, content: vec![media], required: true })
    }

    async fn from_request(
        _: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(body.take()?))
    }
}

/// The body as JSON, not yet checked against anything.
pub(crate) async fn read_json(request: &Request, body: &mut RequestBody) -> Result<Value, ApiError> {
    read_json_within(request, body, LARGEST).await
}

async fn read_json_within(
    request: &Request,
    body: &mut RequestBody,
    limit: usize,
) -> Result<Value, ApiError> {
    if !request.content_type().is_some_and(is_json) {
        return Err(ApiError::unsupported("The body must be sent as application/json"));
    }
    Ok(strict_json::parse(&read_bytes(request, body, limit).await?)?)
}

/// The body as JSON; none where it is empty, of whatever type.
pub(crate) async fn read_optional_json(
    request: &Request,
    body: &mut RequestBody,
) -> Result<Option<Value>, ApiError> {
    let bytes = read_bytes(request, body, LARGEST).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if !request.content_type().is_some_and(is_json) {
        return Err(ApiError::unsupported("The body must be sent as application/json"));
    }
    Ok(Some(strict_json::parse(&bytes)?))
}

async fn read_bytes(request: &Request, body: &mut RequestBody, limit: usize) -> Result<Bytes, ApiError> {
    if content_length(request).is_some_and(|length| length > limit as u64) {
        return Err(ApiError::too_large(limit as u64));
    }
    let body = body.take().map_err(|_| ApiError::invalid("body", "is required"))?;
    body.into_bytes_limit(limit).await.map_err(|error| match error {
        poem::error::ReadBodyError::PayloadTooLarge => ApiError::too_large(limit as u64),
        other => poem::Error::from(other).into(),
    })
}

/// What the client says that the body's length is.
pub(crate) fn content_length(request: &Request) -> Option<u64> {
    request.header(header::CONTENT_LENGTH)?.parse().ok()
}

pub(crate) fn typed<T: ParseFromJSON>(mut value: Value) -> Result<Body<T>, ApiError> {
    schema::check::<T>(&mut value)?;
    let canonical = strict_json::canonical(&value);
    let value =
        T::parse_from_json(Some(value)).map_err(|error| Invalid::new("body", error.into_message()))?;
    Ok(Body { value, canonical })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
