//! The OpenAPI document, completed: what poem-openapi cannot see of an operation follows from its shape (whoever needs a
//! token answers 401, whoever changes something by a cookie 403, whoever takes a body 400, 413 and 415), and the rest
//! stands in one table.

use std::collections::HashMap;
use std::marker::PhantomData;

use poem::EndpointExt;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::{HeaderValue, Method};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{
    MetaApi, MetaHeader, MetaMediaType, MetaOperation, MetaParamIn, MetaResponse, MetaSchema, MetaSchemaRef,
    Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde_json::Value;

use crate::caller;
use crate::dto::time::Timestamp;
use crate::error::{ApiError, Dialect};
use crate::throttle::Class;

const TITLE: &str = "Voxmill";
const DESCRIPTION: &str = "Turns recorded voice and video into other voice and video.";

/// Refusals that do not follow from an operation's shape.
const BESIDES: &[(&str, &[u16])] = &[
    ("register_user", &[409]),
    ("login_user", &[401]),
    ("refresh_token", &[400, 401, 413, 415]),
    ("erase_account", &[404]),
    ("sign_up", &[409]),
    ("sign_in", &[401]),
    ("refresh_day_token", &[400, 401, 413, 415]),
    ("login_with_session", &[401]),
    ("validate_session", &[404]),
    ("upload_file", &[503, 507]),
    ("get_file_content", &[416]),
    ("delete_file", &[409]),
    ("begin_upload", &[507]),
    ("put_upload_part", &[507]),
    ("complete_upload", &[409, 415, 503, 507]),
    ("extract_audio", &[404, 409, 503]),
    ("transcribe_audio", &[404, 409, 503]),
    ("clone_voice", &[404, 409, 503]),
    ("generate_video", &[404, 409, 503]),
    ("submit_batch", &[404, 409, 503, 507]),
    ("cancel_job", &[409]),
    ("retry_job", &[409]),
    ("list_voice_profiles", &[503]),
    ("create_voice_profile", &[404, 409, 503, 507]),
    ("get_voice_profile", &[503]),
    ("delete_voice_profile", &[503]),
    ("preview_voice", &[409, 503]),
    ("list_accounts", &[403]),
    ("get_account", &[403]),
    ("update_account", &[403, 409]),
    ("update_account_api_key", &[403]),
    ("list_all_jobs", &[403]),
    ("get_project", &[403]),
    ("replace_project", &[403]),
    ("update_project", &[403]),
    ("delete_project", &[403]),
    ("list_voice_sessions", &[403, 404]),
    ("start_voice_session", &[403, 404]),
    ("finish_voice_session", &[403, 404]),
    ("update_room", &[403]),
    ("delete_room", &[403]),
    ("start_session", &[403, 409]),
    ("schedule_session", &[403]),
    ("cancel_session", &[403, 409]),
    ("end_session", &[403, 409]),
    ("join_session", &[403, 409]),
    ("set_participant_role", &[403, 409]),
    ("start_screen_share", &[409]),
    ("stop_screen_share", &[403, 409]),
    ("send_chat_message", &[409]),
    ("get_live_token", &[409, 503]),
    ("start_agent_session", &[503]),
    ("create_agent", &[409]),
    ("update_agent", &[409]),
    ("create_campaign", &[404]),
    ("update_campaign", &[409]),
    ("delete_campaign", &[409]),
    ("launch_campaign", &[409]),
    ("pause_campaign", &[409]),
    ("import_call_logs", &[404, 503, 507]),
    ("download_call_recording", &[416]),
    ("start_recording", &[403, 409]),
    ("pause_recording", &[403, 409]),
    ("resume_recording", &[403, 409]),
    ("stop_recording", &[403, 409, 415, 503, 507]),
    ("put_recording_chunk", &[403, 409, 507]),
    ("get_metrics", &[401, 403]),
];

/// Body of every error under `/api/v1`.
#[derive(Object)]
#[oai(rename = "Error")]
struct ErrorObject {
    /// A stable code.
    error: String,
    /// For people.
    message: String,
    #[oai(skip_serializing_if_is_none)]
    details: Option<ErrorDetails>,
    /// The same in the words of another dialect.
    detail: String,
    /// Seconds until another request is admitted, where there were too many.
    #[oai(skip_serializing_if_is_none)]
    retry_after: Option<u64>,
}

/// The field at fault and what is wrong with it.
#[derive(Object)]
struct ErrorDetails {
    field: String,
    issue: String,
}

/// Body of every error under `/auth`, `/agents`, `/campaigns`, `/call-logs`, `/call-recordings` and `/analytics`.
#[derive(Object)]
#[oai(rename = "Envelope")]
struct EnvelopeObject {
    /// Always false.
    success: bool,
    /// Always null.
    data: Option<Value>,
    error: EnvelopedError,
    timestamp: Timestamp,
}

#[derive(Object)]
struct EnvelopedError {
    /// A stable code.
    code: String,
    /// What the code means.
    message: String,
    /// What is the matter here, where there is more to say.
    details: Option<String>,
}

/// Body of every error elsewhere, but of those that name fields: there each field has its sentences.
#[derive(Object)]
#[oai(rename = "Detail")]
struct DetailObject {
    detail: String,
    /// Seconds until another request is admitted, where there were too many.
    #[oai(skip_serializing_if_is_none)]
    retry_after: Option<u64>,
}

/// The routes of `T`, which also refuse the methods that they lack.
pub(crate) struct Routes<T>(pub(crate) T);

/// The document of `T`, which needs no `T`.
pub(crate) struct Document<T>(PhantomData<T>);

/// The document as indented JSON.
pub(crate) fn document<T: OpenApi>() -> String {
    service(Document::<T>(PhantomData)).spec()
}

pub(crate) fn service<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, TITLE, env!("CARGO_PKG_VERSION")).description(DESCRIPTION)
}

impl<T: OpenApi> OpenApi for Document<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            let dialect = Dialect::of(&path.path);
            for operation in &mut path.operations {
                leave_events_open(operation);
                add_refusals(operation, dialect);
                if Class::of(&operation.method, &path.path).is_some() {
                    operation.responses.responses.push(too_many_requests(dialect));
                }
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        ErrorObject::register(registry);
        EnvelopeObject::register(registry);
        DetailObject::register(registry);
        for schema in registry.schemas.values_mut() {
            make_optional_nullable(schema);
            describe_once(schema);
        }
    }

    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

impl<T: OpenApi> OpenApi for Routes<T> {
    fn meta() -> Vec<MetaApi> {
        Document::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        Document::<T>::register(registry);
    }

    fn add_routes(self, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(table);
        for methods in table.values_mut() {
            refuse_other_methods(methods);
        }
    }
}

/// RFC 9110: a 405 names the methods that there are.
fn refuse_other_methods(methods: &mut HashMap<Method, BoxEndpoint<'static>>) {
    let mut names: Vec<&str> = methods.keys().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    let allow = HeaderValue::from_str(&names.join(", ")).ok();
    for method in [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ] {
        let allow = allow.clone();
        let refusal = make(move |_| {
            let allow = allow.clone();
            async move { Err::<(), poem::Error>(ApiError::method_not_allowed(allow).into()) }
        });
        methods.entry(method).or_insert_with(|| refusal.map_to_response().boxed());
    }
}

/// A stream of events is no array of JSON, and this version of OpenAPI has no word for what it is: the operation says it.
fn leave_events_open(operation: &mut MetaOperation) {
    let content = operation.responses.responses.iter_mut().flat_map(|response| &mut response.content);
    for media in content.filter(|media| media.content_type == "text/event-stream") {
        media.schema = MetaSchemaRef::Inline(Box::new(MetaSchema::ANY));
    }
}

fn add_refusals(operation: &mut MetaOperation, dialect: Dialect) {
    let has = |place: MetaParamIn| operation.params.iter().any(|param| param.in_type == place);
    let mut statuses = vec![500];
    if !operation.security.is_empty() {
        statuses.push(401);
    }
    let by_cookie = operation.security.iter().any(|schemes| schemes.contains_key(caller::SESSION));
    if by_cookie && operation.method != Method::GET {
        statuses.push(403);
    }
    if has(MetaParamIn::Path) {
        statuses.push(404);
    }
    if has(MetaParamIn::Query) || has(MetaParamIn::Header) {
        statuses.push(400);
    }
    if operation.request.is_some() {
        statuses.extend([400, 413, 415]);
    }
    let id = operation.operation_id.unwrap_or_default();
    statuses.extend(BESIDES.iter().filter(|(name, _)| *name == id).flat_map(|(_, more)| more.iter()));
    statuses.sort_unstable();
    statuses.dedup();
    statuses.retain(|status| operation.responses.responses.iter().all(|known| known.status != Some(*status)));
    for response in
        operation.responses.responses.iter_mut().filter(|response| response.description.is_empty())
    {
        response.description = "Done";
    }
    operation.responses.responses.extend(statuses.into_iter().map(|status| refusal(status, dialect)));
}

fn too_many_requests(dialect: Dialect) -> MetaResponse {
    let header = |name: &str, description: &str| MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: i64::schema_ref(),
    };
    let headers = vec![
        header("Retry-After", "Seconds until another request is admitted."),
        header("X-RateLimit-Limit", "Requests that are admitted at once."),
        header("X-RateLimit-Remaining", "Those that are left."),
        header("X-RateLimit-Reset", "The second of Unix time in which all of them are there again."),
    ];
    MetaResponse { headers, ..refusal(429, dialect) }
}

fn refusal(status: u16, dialect: Dialect) -> MetaResponse {
    MetaResponse {
        description: match status {
            400 => "A parameter is missing, of the wrong type or out of range",
            401 => "No valid token came with the request",
            403 => "Not permitted",
            404 => "No such thing, or not yours",
            409 => "Stands in conflict with what is there",
            413 => "Too large",
            415 => "Not of a type that is accepted here",
            416 => "None of the bytes asked for exist",
            429 => "Too many requests",
            500 => "Something failed on our side",
            503 => "Not now",
            507 => "No room left",
            _ => "Refused",
        },
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: poem_openapi::payload::Json::<ErrorObject>::CONTENT_TYPE,
            schema: body_of(status, dialect),
        }],
        headers: vec![],
    }
}

fn body_of(status: u16, dialect: Dialect) -> MetaSchemaRef {
    match dialect {
        Dialect::Coded => ErrorObject::schema_ref(),
        Dialect::Enveloped => EnvelopeObject::schema_ref(),
        Dialect::Detail if status == 400 => HashMap::<String, Vec<String>>::schema_ref(),
        Dialect::Detail => DetailObject::schema_ref(),
    }
}

/// An optional property of ours is sent as null, and null is taken for absent.
fn make_optional_nullable(schema: &mut MetaSchema) {
    let required = schema.required.clone();
    for (name, property) in &mut schema.properties {
        if required.contains(name) {
            continue;
        }
        match property {
            MetaSchemaRef::Inline(property) => {
                property.nullable = !property.ty.is_empty() || !property.all_of.is_empty()
            }
            MetaSchemaRef::Reference(_) => {
                let of = property.clone();
                *property = MetaSchemaRef::Inline(Box::new(MetaSchema {
                    all_of: vec![of],
                    nullable: true,
                    ..MetaSchema::ANY
                }));
            }
        }
    }
}

/// A description beside a reference comes twice, in a schema of its own as well, which generators of clients take for a
/// second type.
fn describe_once(schema: &mut MetaSchema) {
    for (_, property) in &mut schema.properties {
        if let MetaSchemaRef::Inline(property) = property {
            let refers = property.all_of.iter().any(|part| matches!(part, MetaSchemaRef::Reference(_)));
            property.all_of.retain(|part| !refers || matches!(part, MetaSchemaRef::Reference(_)));
        }
    }
}
