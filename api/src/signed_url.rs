//! URLs that need no header: the right to one resource, for a short time, signed into the query.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a signed URL lives.
pub(crate) const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Signs paths with HMAC-SHA256.
pub(crate) struct UrlSigner {
    mac: Hmac<Sha256>,
}

impl UrlSigner {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { mac: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length. This is a bug.") }
    }

    /// `path` with the right to it until [`LIFETIME`] after `now`.
    pub(crate) fn sign(&self, path: &str, now: DateTime<Utc>) -> String {
        let expires = (now + LIFETIME).timestamp();
        let signature = hex::encode(self.mac_of(path, expires).finalize().into_bytes());
        format!("{path}?expires={expires}&signature={signature}")
    }

    /// Whether `signature` gives the right to `path` until `expires`, and that is still to come. Compares in constant
    /// time.
    pub(crate) fn verify(&self, path: &str, proof: Proof<'_>, now: DateTime<Utc>) -> bool {
        let Ok(expires) = proof.expires.parse::<i64>() else { return false };
        let Ok(signature) = hex::decode(proof.signature) else { return false };
        now.timestamp() < expires && self.mac_of(path, expires).verify_slice(&signature).is_ok()
    }

    fn mac_of(&self, path: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(format!("{path}\n{expires}").as_bytes());
        mac
    }
}

/// The two values in the query of a signed URL.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    pub(crate) expires: &'a str,
    pub(crate) signature: &'a str,
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Proof, UrlSigner};

    fn proof(url: &str) -> Proof<'_> {
        let query = url.split_once('?').unwrap().1;
        let (expires, signature) = query.split_once('&').unwrap();
        Proof {
            expires: expires.strip_prefix("expires=").unwrap(),
            signature: signature.strip_prefix("signature=").unwrap(),
        }
    }

    #[test]
    fn a_signature_is_for_one_path_and_a_short_time() {
        let signer = UrlSigner::new(b"secret");
        let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
        let url = signer.sign("/a", now);
        let good = proof(&url);
        assert!(signer.verify("/a", good, now));
        assert!(signer.verify("/a", good, now + TimeDelta::seconds(899)));
        assert!(!signer.verify("/a", good, now + TimeDelta::seconds(900)));
        assert!(!signer.verify("/b", good, now));
        assert!(!UrlSigner::new(b"another").verify("/a", good, now));
        let later = (good.expires.parse::<i64>().unwrap() + 1).to_string();
        assert!(!signer.verify("/a", Proof { expires: &later, ..good }, now));
        let flipped = good.signature.replace(['0', '1'], "2");
        assert!(!signer.verify("/a", Proof { signature: &flipped, ..good }, now));
        for signature in ["", "zz", "00"] {
            assert!(!signer.verify("/a", Proof { signature, ..good }, now));
        }
    }
}
