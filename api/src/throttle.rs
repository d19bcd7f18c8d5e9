//! No client takes more than its share: each request is counted in the class of what it asks for, and refused with 429
//! once the rate of its class is used up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method};
use poem::{Endpoint, Request, Response};
use storage::ids::UserId;
use storage::shared_counts::SharedCounts;

use crate::app::App;
use crate::caller::{self, KeyRate, Known};
use crate::error::{ApiError, Result};
use crate::limiter::{Bucket, InProcess, Limiter, Requester, Shared, Verdict};
use crate::pace::Imports;
use crate::rates::{Rate, Rates};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What a request asks for, as far as rates tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Auth,
    VoiceeraAuth,
    Uploads,
    Processing,
    Wide,
    Guests,
    /// Kilobytes of imports, which are counted as they come.
    Imports,
    Other,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::VoiceeraAuth => "voiceera-auth",
            Self::Uploads => "uploads",
            Self::Processing => "processing",
            Self::Wide => "wide",
            Self::Guests => "guests",
            Self::Imports => "imports",
            Self::Other => "other",
        }
    }

    /// None for what is not limited: whoever runs the server must see how it is, above all when many call.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        // As the router has it: without empty parts.
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let read = matches!(*method, Method::GET | Method::HEAD);
        Some(match parts.as_slice() {
            ["health" | "readiness" | "metrics"] => return None,
            ["api", "v1", "auth", "register" | "login" | "refresh" | "logout" | "password-reset", ..]
            | ["api", "auth", "register" | "login" | "logout"] => Self::Auth,
            ["auth", "register" | "login" | "refresh-token"] => Self::VoiceeraAuth,
            ["api", "v1", "files", "upload" | "uploads"] if *method == Method::POST => Self::Uploads,
            ["api", "v1", "files", "uploads", _, "parts", _] => Self::Wide,
            ["api", "v1", "recordings", _, "chunks", _] => Self::Wide,
            ["api", "v1", "files", _, "content"] if read => Self::Wide,
            ["api", "v1", "process", "status" | "batch", _]
            | ["api", "v1", "process", "jobs", _, "events"]
                if read =>
            {
                Self::Wide
            }
            ["api", "v1", "process", _] if *method == Method::POST => Self::Processing,
            ["call-recordings", _, "download"] if read => Self::Wide,
            ["token" | "session"] => Self::Guests,
            _ => Self::Other,
        })
    }
}

/// The rates, and the counts that are held against them.
pub(crate) struct Throttle {
    rates: Rates,
    limiter: Box<dyn Limiter>,
    pub(crate) imports: Imports,
}

/// How a request stands against the rate that it is counted by.
struct Standing {
    rate: Rate,
    verdict: Verdict,
}

impl Throttle {
    /// With counts that other processes share, or with those of this one alone.
    pub(crate) fn new(rates: Rates, shared: Option<SharedCounts>) -> Self {
        let limiter: Box<dyn Limiter> = match shared {
            Some(counts) => Box::new(Shared::new(counts)),
            None => Box::new(InProcess::new()),
        };
        Self { rates, limiter, imports: Imports::default() }
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// None where the key has none and the user's role neither.
    pub(crate) async fn own_rate(
        &self,
        app: &App,
        user: UserId,
        key: Option<KeyRate>,
    ) -> Result<Option<OwnRate>> {
        if let Some((key, per_minute)) = key {
            let rate = Rate::per_minute(per_minute);
            return Ok(Some(OwnRate { requester: Requester::ApiKey(key), rate }));
        }
        if self.rates.roles.is_empty() {
            return Ok(None);
        }
        let role = app.services.storage.users.get(user).await?.role;
        Ok(self.rates.of_role(role).map(|rate| OwnRate { requester: Requester::User(user), rate }))
    }

    /// Waits until so many kilobytes more may be imported.
    pub(crate) async fn wait_for(&self, user: UserId, kilobytes: NonZeroU32) {
        let bucket = Bucket { class: Class::Imports, requester: Requester::User(user) };
        while let Verdict::Refused { wait } =
            self.limiter.admit_several(bucket, self.rates.imports, kilobytes).await
        {
            tokio::time::sleep(wait).await;
        }
    }

    async fn admit(&self, class: Class, who: Who) -> Standing {
        let (bucket, rate) = self.bucket(class, who);
        Standing { rate, verdict: self.limiter.admit(bucket, rate).await }
    }

    fn bucket(&self, class: Class, who: Who) -> (Bucket, Rate) {
        let bucket = |class, requester| (Bucket { class, requester }, self.rates.of(class));
        let Who { address, known, own } = who;
        let address = Requester::Address(network_of(address));
        match (class, known) {
            (Class::Auth | Class::VoiceeraAuth | Class::Wide | Class::Guests, None)
            | (Class::Auth | Class::VoiceeraAuth, Some(_)) => bucket(class, address),
            // Nobody else begins uploads or jobs; without a login they are refused, and cost little.
            (Class::Uploads | Class::Processing | Class::Imports | Class::Other, None) => {
                bucket(Class::Other, address)
            }
            (Class::Wide, Some(known)) => bucket(Class::Wide, Requester::User(known.user)),
            (
                Class::Uploads | Class::Processing | Class::Guests | Class::Imports | Class::Other,
                Some(known),
            ) => {
                match own {
                    // One count for all that the key or the user does.
                    Some(OwnRate { requester, rate }) => (Bucket { class: Class::Other, requester }, rate),
                    None if class == Class::Guests => bucket(Class::Other, Requester::User(known.user)),
                    None => bucket(class, Requester::User(known.user)),
                }
            }
        }
    }
}

/// Who sends a request: an address, and whoever is logged in.
struct Who {
    address: IpAddr,
    known: Option<Known>,
    own: Option<OwnRate>,
}

/// The rate of an API key, or of the user's role.
#[derive(Clone, Copy)]
pub(crate) struct OwnRate {
    requester: Requester,
    pub(crate) rate: Rate,
}

/// The layer that counts, refuses, and tells each client how it stands.
pub(crate) async fn throttle<E: Endpoint<Output = Response>>(
    inner: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    let app = App::of(&request)?.clone();
    let path = request.uri().path().to_owned();
    let (Some(throttle), Some(class)) = (&app.throttle, Class::of(request.method(), &path)) else {
        return inner.call(request).await;
    };
    let known = match class {
        Class::Auth | Class::VoiceeraAuth => None,
        Class::Uploads | Class::Processing | Class::Wide | Class::Guests | Class::Imports | Class::Other => {
            match caller::recognise(&mut request).await {
                Ok(known) => known,
                Err(error) => return Ok(error.render(&path)),
            }
        }
    };
    let own = match &known {
        Some(known) => throttle.own_rate(&app, known.user, known.key_rate).await,
        None => Ok(None),
    };
    let own = match own {
        Ok(own) => own,
        Err(error) => return Ok(error.render(&path)),
    };
    // Those without an address come over one socket of this machine.
    let address = app.client_address(&request).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let standing = throttle.admit(class, Who { address, known, own }).await;
    let mut response = match standing.verdict {
        Verdict::Admitted { .. } => inner.get_response(request).await,
        Verdict::Refused { wait } => ApiError::too_many_requests(whole_seconds(wait).max(1)).render(&path),
    };
    announce(response.headers_mut(), &standing);
    Ok(response)
}

fn announce(headers: &mut HeaderMap, standing: &Standing) {
    let Standing { rate, verdict } = standing;
    let limit = rate.requests().get();
    let (remaining, full_after) = match verdict {
        Verdict::Admitted { remaining } => (*remaining, rate.interval() * limit.saturating_sub(*remaining)),
        Verdict::Refused { wait } => (0, *wait + rate.interval() * (limit - 1)),
    };
    let reset = Utc::now().timestamp().saturating_add_unsigned(whole_seconds(full_after));
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(remaining));
    headers.insert(RESET, HeaderValue::from(reset));
}

/// Rounded up, so that whoever waits for so long has waited long enough.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Whoever has one address of IPv6 usually has the 64-bit network around it.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poem::http::Method;

    use super::{Class, network_of, whole_seconds};

    #[test]
    fn requests_are_told_apart_by_what_they_ask_for() {
        for (method, path, class) in [
            (Method::POST, "/api/v1/auth/login", Some(Class::Auth)),
            (Method::POST, "//api/v1//auth/login/", Some(Class::Auth)),
            (Method::DELETE, "/api/v1/auth/logout", Some(Class::Auth)),
            (Method::GET, "/api/v1/auth/api-keys", Some(Class::Other)),
            (Method::POST, "/auth/login", Some(Class::VoiceeraAuth)),
            (Method::GET, "/auth/me", Some(Class::Other)),
            (Method::POST, "/api/v1/files/upload", Some(Class::Uploads)),
            (Method::POST, "/api/v1/files/uploads", Some(Class::Uploads)),
            (Method::GET, "/api/v1/files/uploads/1", Some(Class::Other)),
            (Method::POST, "/api/v1/files/uploads/1/complete", Some(Class::Other)),
            (Method::PUT, "/api/v1/files/uploads/1/parts/2", Some(Class::Wide)),
            (Method::PUT, "/api/v1/recordings/1/chunks/2", Some(Class::Wide)),
            (Method::GET, "/api/v1/files/1/content", Some(Class::Wide)),
            (Method::HEAD, "/api/v1/files/1/content", Some(Class::Wide)),
            (Method::GET, "/api/v1/files/1", Some(Class::Other)),
            (Method::POST, "/api/v1/process/transcribe", Some(Class::Processing)),
            (Method::POST, "/api/v1/process/batch", Some(Class::Processing)),
            (Method::GET, "/api/v1/process/status/1", Some(Class::Wide)),
            (Method::GET, "/api/v1/process/jobs/1/events", Some(Class::Wide)),
            (Method::GET, "/api/v1/process/jobs", Some(Class::Other)),
            (Method::POST, "/api/v1/process/jobs/1/cancel", Some(Class::Other)),
            (Method::GET, "/call-recordings/1/download", Some(Class::Wide)),
            (Method::GET, "/call-recordings/1", Some(Class::Other)),
            (Method::GET, "/token", Some(Class::Guests)),
            (Method::POST, "/session", Some(Class::Guests)),
            (Method::GET, "/nowhere", Some(Class::Other)),
            (Method::GET, "/health", None),
            (Method::GET, "/readiness/", None),
        ] {
            assert_eq!(Class::of(&method, path), class, "{method} {path}");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn a_wait_is_never_said_to_be_shorter_than_it_is() {
        for (milliseconds, seconds) in [(1, 1), (1000, 1), (11_999, 12), (0, 0)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
