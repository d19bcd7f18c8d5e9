//! Random tokens, and the hashes that are stored in their stead. A token carries 256 bits, so a plain hash suffices.

use sha2::{Digest, Sha256};

pub(crate) fn random_token() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

pub(crate) fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}
