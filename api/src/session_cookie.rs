//! The cookie by which a browser is known. Browsers send it whoever's page asks, so with it a request that changes
//! anything must come from a page of ours, or of an origin that is configured.

use poem::Request;
use poem::http::{Method, header};
use storage::logins::LoginToken;

use crate::accounts::LOGIN_LIFETIME;
use crate::app::App;
use crate::error::{ApiError, Result};

pub(crate) const NAME: &str = "sessionid";

/// The session that came with the request.
pub(crate) fn sent(request: &Request) -> Option<&str> {
    request
        .headers()
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == NAME && !value.is_empty()).then_some(value))
}

/// The value of `Set-Cookie` that gives the session to the browser.
pub(crate) fn set(app: &App, session: &LoginToken) -> String {
    cookie(app, session.as_str(), LOGIN_LIFETIME.as_secs())
}

/// The value of `Set-Cookie` that takes it back.
pub(crate) fn clear(app: &App) -> String {
    cookie(app, "", 0)
}

/// Refuses what another site's page would change in its reader's name. What is no browser names no site, and passes.
pub(crate) fn check_site(app: &App, request: &Request) -> Result<()> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return Ok(());
    }
    let ours = match (request.header(header::ORIGIN), request.header("sec-fetch-site")) {
        (Some(origin), _) => {
            app.services.config.cors_origins.iter().any(|known| known == origin)
                || app.is_own_origin(origin, request)
        }
        (None, Some(site)) => ["same-origin", "none"].contains(&site),
        (None, None) => true,
    };
    if ours { Ok(()) } else { Err(ApiError::forbidden("This site may not act for you")) }
}

fn cookie(app: &App, value: &str, seconds: u64) -> String {
    let https = app.services.config.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let secure = if https { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}
