//! What every handler may use, made once from the services.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::Request;
use storage::audit::{EventKind, NewEvent};
use storage::ids::UserId;
use uuid::Uuid;

use crate::Services;
use crate::client_address::client_address;
use crate::doors::BuiltinVoice;
use crate::edge::RequestId;
use crate::error::ApiError;
use crate::joining::Joining;
use crate::outbox::Outbox;
use crate::passwords::Passwords;
use crate::signed_url::UrlSigner;
use crate::throttle::Throttle;
use crate::tokens::Tokens;

pub(crate) struct App {
    pub(crate) services: Services,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) urls: UrlSigner,
    pub(crate) outbox: Outbox,
    /// None where nothing is limited.
    pub(crate) throttle: Option<Throttle>,
    pub(crate) joining: Joining,
}

impl App {
    pub(crate) fn new(services: Services) -> Arc<Self> {
        let counts = services.storage.shared_counts.clone();
        Arc::new(Self {
            tokens: Tokens::new(&services.config.token_secret),
            passwords: Passwords::new(),
            urls: UrlSigner::new(&services.config.url_secret),
            outbox: Outbox::new(),
            throttle: services.config.rates.clone().map(|rates| Throttle::new(rates, counts)),
            joining: Joining::default(),
            services,
        })
    }

    /// The one that serves this request.
    pub(crate) fn of(request: &Request) -> Result<&Arc<Self>, ApiError> {
        request.data().ok_or_else(|| ApiError::internal("the request carries no application"))
    }

    /// Where `request` comes from, as far as that is known.
    pub(crate) fn client_address(&self, request: &Request) -> Option<IpAddr> {
        client_address(request, &self.services.config.trusted_proxies)
    }

    /// Puts on record what `request` did.
    pub(crate) async fn record(
        &self,
        request: &Request,
        kind: EventKind,
        user: Option<UserId>,
    ) -> Result<(), ApiError> {
        let client_address = self.client_address(request);
        let event = NewEvent { kind, user, client_address, request_id: RequestId::of(request) };
        Ok(self.services.storage.audit.record(event).await?)
    }

    pub(crate) async fn builtin_voice(&self, id: Uuid) -> Result<Option<BuiltinVoice>, ApiError> {
        Ok(self.services.speech.builtin_voices().await?.into_iter().find(|voice| voice.id == id))
    }

    /// The ids of the voices that everybody has.
    pub(crate) async fn builtin_voices(&self) -> Result<Vec<Uuid>, ApiError> {
        Ok(self.services.speech.builtin_voices().await?.into_iter().map(|voice| voice.id).collect())
    }

    /// Whether this is how a browser names us as the origin of a page: scheme and authority where we know our own URL,
    /// the authority alone where a proxy may have changed the scheme.
    pub(crate) fn is_own_origin(&self, origin: &str, request: &Request) -> bool {
        let parts = |url: &str| {
            let url = url.to_ascii_lowercase();
            let (scheme, rest) = url.split_once("://")?;
            let authority = rest.split('/').next()?;
            // Browsers leave out the usual port.
            let usual = if scheme == "https" { ":443" } else { ":80" };
            let authority = authority.strip_suffix(usual).unwrap_or(authority);
            Some((scheme.to_owned(), authority.to_owned()))
        };
        let Some(named) = parts(origin) else { return false };
        match &self.services.config.public_url {
            Some(url) => parts(url) == Some(named),
            None => named.1 == authority(request).to_ascii_lowercase(),
        }
    }

    /// Makes the absolute URLs of the answer to `request`.
    pub(crate) fn links(self: &Arc<Self>, request: &Request) -> Links {
        let base = match &self.services.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{}", request.scheme(), authority(request)),
        };
        Links { app: self.clone(), base }
    }
}

/// Absolute URLs, as the client of one request sees this server.
#[derive(Clone)]
pub(crate) struct Links {
    app: Arc<App>,
    base: String,
}

impl Links {
    pub(crate) fn plain(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Works without a header, for 15 minutes from `now`.
    pub(crate) fn signed(&self, path: &str, now: DateTime<Utc>) -> String {
        format!("{}{}", self.base, self.app.urls.sign(path, now))
    }
}

/// The host that the client called. HTTP/2 has it in the URI.
fn authority(request: &Request) -> String {
    let named =
        request.header("host").or_else(|| request.original_uri().authority().map(|name| name.as_str()));
    let sane =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    match named.filter(sane) {
        Some(name) => name.to_owned(),
        None => {
            request.local_addr().as_socket_addr().map_or_else(|| "localhost".to_owned(), ToString::to_string)
        }
    }
}
