//! What a file is told by.

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

const BUFFER: usize = 256 << 10;

/// Of the content, as the server writes it.
pub(super) async fn checksum(path: &Path) -> anyhow::Result<String> {
    let owned = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || -> io::Result<String> {
        let (mut file, mut hasher, mut buffer) = (File::open(owned)?, Sha256::new(), vec![0; BUFFER]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex::encode(hasher.finalize())),
                count => hasher.update(&buffer[..count]),
            }
        }
    });
    hashed.await?.with_context(|| format!("could not read {}", path.display()))
}
