//! A server of its own for each test, and the client that speaks to it. Every answer is compared with the document:
//! a status that an operation does not announce fails the test.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use api::{ApiConfig, Guests, Services};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::{Body, Endpoint, EndpointExt, Request, RequestBuilder, Response};
use poem_openapi::OperationId;
use serde_json::{Value, json};
use storage::calls::CallPrice;
use storage::clock::Clock;
use storage::objects::ObjectsConfig;
use storage::{RedisConfig, Storage, StorageConfig};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::doubles::{MagicProbe, TalkativeSpeech};
use crate::servers::Redis;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&api::openapi()).unwrap());

pub(crate) const QUOTA: u64 = 100_000;
pub(crate) const MAX_UPLOAD: u64 = 60_000;
pub(crate) const INTERNAL_KEY: &str = "a key between our own services";
pub(crate) const PUBLIC_URL: &str = "https://voxmill.example";

pub(crate) struct TestApp {
    routes: BoxEndpoint<'static>,
    pub(crate) services: Services,
    pub(crate) storage: Storage,
    pub(crate) clock: Clock,
    pub(crate) shutdown: CancellationToken,
    directory: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Option<Body>,
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::serving(|services| change(&mut services.config)).await
    }

    /// With other services.
    pub(crate) async fn serving(change: impl FnOnce(&mut Services)) -> Self {
        let clock = Clock::system();
        let (mut services, directory) = services_at(clock.clone(), QUOTA).await;
        change(&mut services);
        let (storage, shutdown) = (services.storage.clone(), services.shutdown.clone());
        let routes = api::routes(services.clone()).boxed();
        Self { routes, services, storage, clock, shutdown, directory }
    }

    /// The same database and files, as another process sees them.
    pub(crate) async fn beside(&self, redis: &Redis) -> Self {
        let redis = Some(RedisConfig { url: redis.url(), prefix: "test".to_owned() });
        let config = StorageConfig { redis, ..storage_config(self.directory.path(), QUOTA) };
        let storage = Storage::open_with_clock(&config, self.clock.clone()).await.unwrap();
        Self::serving(|services| services.storage = storage).await
    }

    /// An app and the access token of a user.
    pub(crate) async fn with_user() -> (Self, String) {
        let app = Self::new().await;
        let token = app.user("ann@example.com").await;
        (app, token)
    }

    /// Registers and logs in; the access token.
    pub(crate) async fn user(&self, email: &str) -> String {
        let body = json!({"fullName": "Ann Example", "email": email, "password": "password123"});
        self.post("/api/v1/auth/register", "", &body).await.expect(201);
        let body = json!({"email": email, "password": "password123"});
        let pair = self.post("/api/v1/auth/login", "", &body).await.expect(200).json().await;
        pair["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(request(Method::GET, path, token).finish()).await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send(request(Method::DELETE, path, token).finish()).await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = request(Method::PUT, path, token).content_type("application/json");
        self.send(request.body(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = request(Method::PATCH, path, token).content_type("application/json");
        self.send(request.body(body.to_string())).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.post_bytes(path, token, body.to_string()).await
    }

    pub(crate) async fn post_bytes(&self, path: &str, token: &str, body: impl Into<Body>) -> Answer {
        let request = request(Method::POST, path, token).content_type("application/json");
        self.send(request.body(body)).await
    }

    /// Uploads a form of these parts, each a head and a body.
    pub(crate) async fn upload(&self, token: &str, parts: &[(&str, &[u8])]) -> Answer {
        let request = request(Method::POST, "/api/v1/files/upload", token);
        self.send(request.content_type("multipart/form-data; boundary=XX").body(form(parts))).await
    }

    /// Uploads one file; its object.
    pub(crate) async fn file(&self, token: &str, name: &str, bytes: &[u8]) -> Value {
        let head = format!("name=\"file\"; filename=\"{name}\"");
        self.upload(token, &[(&head, bytes)]).await.expect(201).json().await
    }

    pub(crate) async fn send(&self, request: Request) -> Answer {
        let response = self.routes.get_response(request).await;
        check_documented(&response);
        assert!(response.header("x-request-id").is_some());
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: Some(body) }
    }
}

/// The services of a server whose users have this quota, and the directory of its data, which goes when it is dropped.
pub(crate) async fn services(default_quota_bytes: u64) -> (Services, TempDir) {
    services_at(Clock::system(), default_quota_bytes).await
}

/// The same, with a clock that the test moves.
async fn services_at(clock: Clock, default_quota_bytes: u64) -> (Services, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = storage_config(directory.path(), default_quota_bytes);
    migrations::up(&config.database_url).await.unwrap();
    let storage = Storage::open_with_clock(&config, clock).await.unwrap();
    let services = Services {
        probe: Arc::new(MagicProbe),
        speech: Arc::new(TalkativeSpeech { objects: storage.objects.clone() }),
        storage,
        mail: None,
        metrics: Arc::new(|| "voxmill_up 1\n".to_owned()),
        config: ApiConfig {
            public_url: Some(PUBLIC_URL.to_owned()),
            password_reset_url: None,
            cors_origins: vec!["https://app.example".to_owned()],
            token_secret: b"a token secret of thirty-two byte".to_vec(),
            url_secret: b"a url secret of thirty-two bytes".to_vec(),
            metrics_token: None,
            internal_key: Some(INTERNAL_KEY.to_owned()),
            max_upload_bytes: MAX_UPLOAD,
            livekit: None,
            guests: Guests::Welcome,
            rates: None,
            trusted_proxies: vec![],
            call_price: CallPrice::per_minute(0.25),
            currency: "USD".to_owned(),
            max_connections: 100,
            patience: Duration::from_secs(60),
        },
        shutdown: CancellationToken::new(),
    };
    (services, directory)
}

fn storage_config(directory: &Path, default_quota_bytes: u64) -> StorageConfig {
    StorageConfig {
        database_url: format!("sqlite://{}/test.db?mode=rwc", directory.display()),
        database_connections: 1,
        data_directory: directory.to_owned(),
        objects: ObjectsConfig::Disk,
        default_quota_bytes,
        retention: None,
        redis: None,
    }
}

pub(crate) fn request(method: Method, path: &str, token: &str) -> RequestBuilder {
    let path = path.strip_prefix(PUBLIC_URL).unwrap_or(path);
    let request = Request::builder().method(method).uri_str(path);
    if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) }
}

/// A request by a browser that has this cookie.
pub(crate) fn by_cookie(method: Method, path: &str, cookie: &str) -> RequestBuilder {
    request(method, path, "").header("cookie", cookie)
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = vec![];
    for (head, body) in parts {
        form.extend(format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes());
        form.extend_from_slice(body);
        form.extend(b"\r\n");
    }
    form.extend(b"--XX--\r\n");
    form
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status);
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) async fn json(self) -> Value {
        serde_json::from_slice(&self.bytes().await).unwrap()
    }

    pub(crate) async fn bytes(mut self) -> Vec<u8> {
        self.body.take().unwrap().into_vec().await.unwrap()
    }

    pub(crate) fn into_body(mut self) -> Body {
        self.body.take().unwrap()
    }

    /// Checks the status and the code of an error; its body.
    pub(crate) async fn error(self, status: u16, code: &str) -> Value {
        let found = self.status.as_u16();
        let body = self.json().await;
        assert_eq!((found, body["error"].as_str()), (status, Some(code)), "{body}");
        assert!(body["message"].is_string() && body["detail"].is_string(), "{body}");
        body
    }

    /// Checks the status and the code of an error in an envelope; the message and the details.
    pub(crate) async fn enveloped(self, status: u16, code: &str) -> (Value, Value) {
        let found = self.status.as_u16();
        let mut body = self.json().await;
        assert_eq!((found, body["error"]["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!((&body["success"], &body["data"]), (&json!(false), &Value::Null), "{body}");
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");
        (body["error"]["message"].take(), body["error"]["details"].take())
    }

    /// The session that the answer gives to a browser, as the browser sends it back.
    #[track_caller]
    pub(crate) fn session(&self) -> String {
        let cookie = self.header("set-cookie");
        let (session, attributes) = cookie.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure");
        assert!(session.starts_with("sessionid=") && session.len() > 40, "{cookie}");
        session.to_owned()
    }

    /// Checks that the body's field is named as the one at fault; the issue.
    pub(crate) async fn invalid(self, field: &str) -> String {
        let body = self.error(400, "validation_error").await;
        assert_eq!(body["details"]["field"], field, "{body}");
        body["details"]["issue"].as_str().unwrap().to_owned()
    }
}

fn check_documented(response: &Response) {
    let status = response.status();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return;
    }
    let Some(OperationId(id)) = response.data::<OperationId>().copied() else { return };
    let operations =
        DOCUMENT["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let operation = operations.into_iter().find(|operation| operation["operationId"] == id).unwrap();
    assert!(operation["responses"].get(status.as_str()).is_some(), "{id} does not announce {status}");
}
