//! A file sent in parts under an id that is on record before the first of them: whoever goes on after a kill sends what is
//! missing, and however often the end is asked for, one file is made.

use crate::client::{Client, is_not_found, is_outage, text};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::path::Path;

const PATH: &str = "/api/v1/files/uploads";

/// Announces the file; the id under which its parts go.
pub(crate) async fn begin(client: &Client, path: &Path, sha256: &str) -> anyhow::Result<String> {
    let about =
        tokio::fs::metadata(path).await.with_context(|| format!("could not read {}", path.display()))?;
    let filename = path.file_name().unwrap_or_default().to_string_lossy();
    let announced = json!({ "filename": filename, "size_bytes": about.len(), "sha256": sha256 });
    let upload = client.post(PATH, &announced).await?;
    Ok(text(&upload, "upload_id")?.to_owned())
}

/// Sends the parts that are not there, and has a file made of them: its id. None where there is no such upload: its time
/// is over, or it is a file by now.
pub(crate) async fn finish(client: &Client, path: &Path, upload: &str) -> anyhow::Result<Option<String>> {
    let known = client.get(&format!("{PATH}/{upload}")).await;
    let Some(known) = unless_not_found(known)? else { return Ok(None) };
    let part_size = known["part_size"].as_u64().context("the server's answer has no part_size")?;
    for part in known["parts"].as_array().into_iter().flatten() {
        if part["received"] == true {
            continue;
        }
        let (Some(number @ 1..), Some(length)) = (part["number"].as_u64(), part["size_bytes"].as_u64())
        else {
            bail!("the server's answer has a part without number or size")
        };
        let span = (number - 1) * part_size..(number - 1) * part_size + length;
        client.send_part(path, span, text(part, "url")?).await?;
    }
    let made = client.post(&format!("{PATH}/{upload}/complete"), &json!({})).await;
    if made.as_ref().is_err_and(|error| !is_outage(error) && !is_not_found(error)) {
        // It is no file that the server takes. Where this fails, the upload goes when its time is over.
        let _ = client.delete(&format!("{PATH}/{upload}")).await;
    }
    unless_not_found(made)?.map(|file| Ok(text(&file, "file_id")?.to_owned())).transpose()
}

fn unless_not_found(answer: anyhow::Result<Value>) -> anyhow::Result<Option<Value>> {
    match answer {
        Err(error) if is_not_found(&error) => Ok(None),
        answer => answer.map(Some),
    }
}
