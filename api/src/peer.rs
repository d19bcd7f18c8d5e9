//! Who is at the other end: what is for this machine alone, or for those who know a secret of the server's.

use poem::Request;
use sha2::{Digest, Sha256};

/// Whether the caller is on this machine and speaks for itself.
pub(crate) fn is_this_machine(request: &Request) -> bool {
    let peer = request.remote_addr().as_socket_addr();
    let local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    // A proxy on this machine speaks for others.
    let forwarded = ["x-forwarded-for", "forwarded"].iter().any(|name| request.headers().contains_key(*name));
    local && !forwarded
}

/// Digests differ from their first byte on, so the time that comparing takes tells nothing of the secret.
pub(crate) fn is_secret(sent: &str, secret: &str) -> bool {
    Sha256::digest(sent) == Sha256::digest(secret)
}
