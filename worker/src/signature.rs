//! Signatures of Standard Webhooks 1.0: HMAC-SHA256 over the id, the time and the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderName;
use sha2::Sha256;
use storage::webhooks::{Delivery, SigningKey, SigningKeys};

pub(crate) const ID: HeaderName = HeaderName::from_static("webhook-id");
/// Seconds of Unix time.
pub(crate) const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The value of the header: a signature by each key that counts now.
pub(crate) fn of(delivery: &Delivery, timestamp: i64, keys: &SigningKeys) -> String {
    let signed = format!("{}.{timestamp}.{}", delivery.id, delivery.body);
    let previous = keys.previous.as_ref().map(|(key, _)| key);
    let signing = [Some(&keys.current), previous].into_iter().flatten();
    signing.map(|key| sign(&signed, key)).collect::<Vec<_>>().join(" ")
}

fn sign(text: &str, key: &SigningKey) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
        .expect("HMAC takes a key of any length. This is a bug.");
    mac.update(text.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
