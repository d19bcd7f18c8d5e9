//! The URL that is told of the end of a job. Where it leads, whoever calls it looks at: see `worker::Egress`.

use storage::webhooks::Callback;
use url::Url;

use crate::app::Links;
use crate::dto::jobs::STATUS_PATHS;
use crate::error::{ApiError, Result};

/// Longest URL, in bytes.
const LONGEST: usize = 2048;

/// The callback of a job whose client sees our URLs as `links` makes them.
pub(crate) fn to(url: &str, links: &Links) -> Result<Callback> {
    let url = checked(url).map_err(|issue| ApiError::invalid("callback_url", issue))?;
    Ok(Callback { url, status_urls: links.plain(STATUS_PATHS) })
}

/// The URL in its one spelling, or what is wrong with it.
fn checked(text: &str) -> std::result::Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password".to_owned());
    }
    if url.as_str().len() > LONGEST {
        return Err(format!("must have no more than {LONGEST} bytes"));
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, checked};

    #[test]
    fn a_callback_is_a_url_of_the_web() {
        for (sent, kept) in [
            ("https://example.com/hook?key=1", "https://example.com/hook?key=1"),
            ("HTTP://EXAMPLE.com:8080", "http://example.com:8080/"),
            ("https://bücher.example/ö", "https://xn--bcher-kva.example/%C3%B6"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://[::1]:8000/", "http://[::1]:8000/"),
        ] {
            assert_eq!(checked(sent).as_deref(), Ok(kept));
        }
        let long = format!("https://example.com/{}", "a".repeat(LONGEST));
        // Each of these letters takes six bytes of a URL.
        let wide = format!("https://example.com/{}", "ö".repeat(400));
        for wrong in [
            "",
            "example.com/hook",
            "/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://",
            "http://exa mple.com/",
            "http://[::1/",
            "http://1.2.3.4.5/",
            "https://ada@example.com/",
            "https://:secret@example.com/",
            "https://ada:secret@example.com/",
            "https://example.com:99999/",
            &long,
            &wide,
        ] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }
}
