//! Password hashes: Argon2id with OWASP's parameters, off the async threads, and no more at once than there are cores.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::{ApiError, Result};

/// Kibibytes, passes and lanes: OWASP Password Storage Cheat Sheet.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How long a hash waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Passwords {
    permits: Semaphore,
    /// The hash of a password that nobody has.
    nobody: String,
}

impl Passwords {
    /// Takes as long as one hash.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let nobody = hash(&hex::encode(rand::random::<[u8; 16]>())).unwrap_or_default();
        Self { permits: Semaphore::new(cores), nobody }
    }

    /// The hash to store, in the PHC string format.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        self.run(move || hash(&password)).await?
    }

    /// Whether `password` is the one that was hashed. Without a hash it is not, and finding out takes as long.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let matches =
            self.run(move || argon2().verify_password(password.as_bytes(), hash.as_str()).is_ok()).await?;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Ok(permit) = timeout(PATIENCE, self.permits.acquire()).await else {
            return Err(ApiError::unavailable("Too many log in at once; try again"));
        };
        let _permit = permit.map_err(ApiError::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
    }
}

fn hash(password: &str) -> Result<String> {
    let salt = rand::random::<[u8; 16]>();
    let hash = argon2().hash_password_with_salt(password.as_bytes(), &salt).map_err(ApiError::internal)?;
    Ok(hash.to_string())
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY, PASSES, LANES, None).expect("the parameters are OWASP's. This is a bug.");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::Passwords;

    #[tokio::test]
    async fn only_the_password_that_was_hashed_is_right() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse".into()).await.unwrap());
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("correct horse".into(), None).await.unwrap());
    }
}
