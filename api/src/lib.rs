//! HTTP: the routes, what they take and answer, and who may call them. Knows nothing of media or models;
//! what it must ask of them at once goes through [`doors`].

mod accounts;
mod admin;
mod agents;
mod analytics;
mod app;
mod auth;
mod batches;
mod bearer_auth;
mod body;
mod call_import;
mod call_lines;
mod call_recordings;
mod call_report;
mod callback;
mod caller;
mod calls;
mod campaign_list;
mod campaigns;
mod client_address;
mod connections;
mod cookie_auth;
mod cors;
mod document;
pub mod doors;
mod dto;
mod edge;
mod error;
mod events;
mod export;
mod files;
mod history;
mod intake;
mod internal;
mod jobs;
mod joining;
mod limiter;
mod live;
mod me;
mod media_types;
mod meetings;
mod operations;
mod outbox;
mod pace;
mod password_reset;
mod passwords;
mod peer;
mod phone_number;
mod process;
mod projects;
mod range;
mod rates;
mod recorder;
mod recordings;
mod refresh_token;
mod rooms;
mod schema;
mod session_cookie;
mod signed_url;
mod strict_json;
mod tags;
mod throttle;
mod tokens;
mod upload_form;
mod uploads;
mod usage;
mod users;
mod voice_sessions;
mod voices;
mod webhooks;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::make_sync;
use poem::listener::TcpAcceptor;
use poem::middleware::{NormalizePath, TrailingSlash};
use poem::{Endpoint, EndpointExt, IntoResponse, Response, Route, Server};
use storage::Storage;
use storage::calls::CallPrice;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use client_address::{InvalidNetwork, Network};
pub use live::LiveKit;
pub use operations::Observed;
pub use rates::{InvalidRate, Rate, Rates};

use app::App;
use connections::{Counted, Guarded, Requests};
use document::Routes;
use doors::{Mail, Probe, Speech};
use operations::JobMetrics;

/// How the server behaves. Read once at start.
#[derive(Clone)]
pub struct ApiConfig {
    /// Scheme and authority of the URLs in answers, such as `https://voxmill.example`; none takes the request's `Host`.
    pub public_url: Option<String>,
    /// Origins, exactly as browsers send them, whose pages may call with credentials.
    pub cors_origins: Vec<String>,
    /// The page that links in letters lead to, with `token` in its query; none is one of ours on `public_url`.
    pub password_reset_url: Option<String>,
    /// Signs access tokens; at least 32 random bytes.
    pub token_secret: Vec<u8>,
    /// Signs URLs; at least 32 random bytes.
    pub url_secret: Vec<u8>,
    /// Opens the metrics, sent as Bearer; without one they are for this machine alone.
    pub metrics_token: Option<String>,
    /// Opens the internal routes to other machines, sent as `X-Internal-Key`; without one they are for this machine alone.
    pub internal_key: Option<String>,
    /// Largest file, in bytes, in one upload or in parts.
    pub max_upload_bytes: u64,
    /// The media server of live rooms; without one nobody gets into any.
    pub livekit: Option<LiveKit>,
    /// Who may enter live rooms.
    pub guests: Guests,
    /// How much of the server each client may have; none limits nobody.
    pub rates: Option<Rates>,
    /// Proxies that are believed when they say for whom they speak.
    pub trusted_proxies: Vec<Network>,
    /// What a call costs that does not say so itself.
    pub call_price: CallPrice,
    /// Of what calls cost: an ISO 4217 code.
    pub currency: String,
    /// Connections at once; those beyond wait.
    pub max_connections: usize,
    /// How long a client may be silent where it is its turn: with the rest of a request, with the next one, or in taking
    /// an answer.
    pub patience: Duration,
}

/// Whether those who are not logged in may use what is open to guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    Welcome,
    KeptOut,
}

/// Everything that a request may need, built once by the program that starts the server.
#[derive(Clone)]
pub struct Services {
    pub storage: Storage,
    pub probe: Arc<dyn Probe>,
    pub speech: Arc<dyn Speech>,
    /// None where no mail server is configured: then links are in the log.
    pub mail: Option<Arc<dyn Mail>>,
    /// Renders the metrics of this process as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub config: ApiConfig,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
}

/// How long requests under way may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(30);
/// How long a connection of a watcher may be idle.
const OPERATIONS_PATIENCE: Duration = Duration::from_secs(60);

/// Answers HTTP on `listener` until `services.shutdown`; then takes no new connections, ends event streams, and gives
/// requests under way 30 seconds.
pub async fn serve(listener: TcpListener, services: Services) -> io::Result<()> {
    let ApiConfig { max_connections, patience, .. } = services.config;
    let (shutdown, requests) = (services.shutdown.clone(), Requests::default());
    let app = App::new(services);
    let _ends_with_the_server = recorder::watch(app.clone());
    let acceptor = Guarded {
        listener: TcpAcceptor::from_tokio(listener)?,
        permits: Arc::new(Semaphore::new(max_connections)),
        requests: requests.clone(),
        patience,
    };
    // Boxed, for the types of all layers together are too deep for the compiler.
    let routes = Counted { inner: routes_of(app).boxed(), requests };
    Server::new_with_acceptor(acceptor)
        .name("api")
        .run_with_graceful_shutdown(routes, shutdown.cancelled_owned(), Some(GRACE))
        .await
}

/// Answers on `listener` what those who run the server ask of a process that serves no clients: `/health`, `/readiness`
/// and `/metrics`, until `end`, which comes after its shutdown: what drains is watched too.
pub async fn serve_operations(
    listener: TcpListener,
    observed: Observed,
    end: CancellationToken,
) -> io::Result<()> {
    let operations = operations::OperationsApi { observed, jobs: JobMetrics::Left };
    let routes = Route::new()
        .nest("/", document::service(operations))
        .with(NormalizePath::new(TrailingSlash::Trim))
        .map_to_response()
        .around(edge::answer)
        .around(edge::trace);
    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?)
        .name("operations")
        .idle_timeout(OPERATIONS_PATIENCE)
        .run_with_graceful_shutdown(routes, end.cancelled_owned(), Some(GRACE))
        .await
}

/// Stops the recordings that get no chunks any more, and makes files of those that stopped and are none yet. [`serve`]
/// does so all the time; this is for tests that do not wait.
pub async fn finish_recordings(services: Services) {
    recorder::finish_all(&App::new(services)).await;
}

/// All routes with all their layers, for a server or a test.
pub fn routes(services: Services) -> impl Endpoint<Output = Response> {
    routes_of(App::new(services))
}

fn routes_of(app: Arc<App>) -> impl Endpoint<Output = Response> {
    let api = document::service(Routes(apis(&app)));
    let docs = api.swagger_ui().map_to_response().around(docs_page);
    let spec = openapi();
    let spec = make_sync(move |_| Response::builder().content_type("application/json").body(spec.clone()));
    Route::new()
        .at("/openapi.json", spec)
        .nest("/docs", docs)
        .at(password_reset::PAGE_PATH, make_sync(|_| password_reset_page()))
        .nest("/", api)
        .with(NormalizePath::new(TrailingSlash::Trim))
        .map_to_response()
        .around(edge::odd_methods)
        .around(edge::answer)
        // As in [`serve`]: the types of all layers together are too deep.
        .boxed()
        .around(throttle::throttle)
        .around(edge::hurry)
        .around(cors::cors)
        .around(edge::protect)
        .around(edge::trace)
        .data(app)
        .map_to_response()
}

/// The OpenAPI document as indented JSON; the same at every call.
pub fn openapi() -> String {
    document::document::<Apis>()
}

/// In groups, for the library takes no more than sixteen in a row.
type Apis = (AccountApis, MediaApis, MeetingApis, CallingApis, OperationApis);

type AccountApis = (
    auth::AuthApi,
    me::MeApi,
    password_reset::PasswordResetApi,
    bearer_auth::BearerAuthApi,
    cookie_auth::CookieAuthApi,
    users::UsersApi,
    history::HistoryApi,
    internal::InternalApi,
);

type MediaApis = (
    files::FilesApi,
    uploads::UploadsApi,
    process::ProcessApi,
    batches::BatchesApi,
    jobs::JobsApi,
    webhooks::WebhooksApi,
    voices::VoicesApi,
);

type MeetingApis = (
    projects::ProjectsApi,
    voice_sessions::VoiceSessionsApi,
    rooms::RoomsApi,
    meetings::MeetingsApi,
    live::LiveApi,
    recordings::RecordingsApi,
);

type CallingApis = (
    agents::AgentsApi,
    campaigns::CampaignsApi,
    calls::CallsApi,
    call_recordings::CallRecordingsApi,
    analytics::AnalyticsApi,
);

type OperationApis = (usage::UsageApi, admin::AdminApi, operations::OperationsApi);

fn apis(app: &Arc<App>) -> Apis {
    let app = || app.clone();
    let accounts = (
        auth::AuthApi { app: app() },
        me::MeApi { app: app() },
        password_reset::PasswordResetApi { app: app() },
        bearer_auth::BearerAuthApi { app: app() },
        cookie_auth::CookieAuthApi { app: app() },
        users::UsersApi { app: app() },
        history::HistoryApi { app: app() },
        internal::InternalApi { app: app() },
    );
    let media = (
        files::FilesApi { app: app() },
        uploads::UploadsApi { app: app() },
        process::ProcessApi { app: app() },
        batches::BatchesApi { app: app() },
        jobs::JobsApi { app: app() },
        webhooks::WebhooksApi { app: app() },
        voices::VoicesApi { app: app() },
    );
    let meetings = (
        projects::ProjectsApi { app: app() },
        voice_sessions::VoiceSessionsApi { app: app() },
        rooms::RoomsApi { app: app() },
        meetings::MeetingsApi { app: app() },
        live::LiveApi { app: app() },
        recordings::RecordingsApi { app: app() },
    );
    let calling = (
        agents::AgentsApi { app: app() },
        campaigns::CampaignsApi { app: app() },
        calls::CallsApi { app: app() },
        call_recordings::CallRecordingsApi { app: app() },
        analytics::AnalyticsApi { app: app() },
    );
    let operations = (
        usage::UsageApi { app: app() },
        admin::AdminApi { app: app() },
        operations::OperationsApi { observed: observed(&app()), jobs: JobMetrics::Shown },
    );
    (accounts, media, meetings, calling, operations)
}

fn observed(app: &App) -> Observed {
    let Services { storage, metrics, shutdown, config, .. } = &app.services;
    Observed {
        storage: storage.clone(),
        metrics: metrics.clone(),
        metrics_token: config.metrics_token.clone(),
        shutdown: shutdown.clone(),
    }
}

fn password_reset_page() -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
        connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header("Content-Security-Policy", POLICY)
        .body(password_reset::PAGE)
}

/// The interactive page runs scripts of its own; nothing else that we serve may.
async fn docs_page<E: Endpoint<Output = Response>>(
    page: Arc<E>,
    request: poem::Request,
) -> poem::Result<Response> {
    const POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
        img-src 'self' data:; frame-ancestors 'none'";
    Ok(page.call(request).await?.with_header("Content-Security-Policy", POLICY).into_response())
}
