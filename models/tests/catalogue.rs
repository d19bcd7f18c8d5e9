//! The catalogue against the real sources: what is pulled is what the catalogue states.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use models::EngineError;
use models::catalogue::{Catalogue, CatalogueError, Sources, Task, default_directory};

/// Nothing listens on port 1.
const UNREACHABLE: &str = "http://127.0.0.1:1";

fn catalogue_in(directory: &std::path::Path) -> Catalogue {
    Catalogue::new(directory.to_owned(), Sources::from_env())
}

#[test]
fn every_entry_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_in(directory.path());
    assert!(catalogue.entries().iter().all(|entry| 0 < entry.size() && !entry.licence.is_empty()));
    let defaults: Vec<_> = catalogue.default_set().map(|entry| (entry.task, entry.name.as_str())).collect();
    assert_eq!(
        defaults,
        [
            (Task::VoiceActivity, "silero-vad"),
            (Task::Speaker, "ge2e"),
            (Task::Synthesize, "piper-en_US-joe-medium"),
            (Task::Transcribe, "whisper-base"),
        ]
    );
}

#[tokio::test]
async fn the_default_set_and_the_quick_model_can_be_installed() {
    let catalogue = catalogue_in(&default_directory());
    for name in ["silero-vad", "ge2e", "piper-en_US-joe-medium", "whisper-tiny.en", "whisper-base"] {
        let mut last = None;
        let installed = catalogue.pull(name, |progress| last = Some(progress)).await.unwrap();
        assert!(installed.weights().is_file());
        assert!(last.is_none_or(|progress| progress.bytes_done == progress.bytes_total));
        assert_eq!(catalogue.installed(name).unwrap(), installed);
    }
}

/// The sums in the catalogue are those of files that other programs converted from the same weights.
#[tokio::test]
async fn weights_are_converted_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources { hub_endpoint: UNREACHABLE.into(), hub_token: None };
    let catalogue = Catalogue::new(directory.path().to_owned(), sources);
    for name in ["ge2e", "whisper-tiny.en"] {
        catalogue.pull(name, |_| {}).await.unwrap();
    }
}

#[tokio::test]
async fn damage_is_found_and_mended() {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_in(directory.path());
    assert!(matches!(catalogue.verify("silero-vad"), Err(CatalogueError::NotInstalled { .. })));
    assert!(catalogue.installed("silero-vad").is_none());

    // Two at once: one waits for the other.
    let (first, second) =
        tokio::join!(catalogue.pull("silero-vad", |_| {}), catalogue.pull("silero-vad", |_| {}));
    let weights = first.unwrap().weights();
    assert_eq!(weights, second.unwrap().weights());
    catalogue.verify("silero-vad").unwrap();

    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    assert!(
        matches!(catalogue.verify("silero-vad"), Err(CatalogueError::Damaged { path, .. }) if path == weights)
    );
    catalogue.pull("silero-vad", |_| {}).await.unwrap();
    catalogue.verify("silero-vad").unwrap();

    std::fs::write(&weights, &bytes[..middle]).unwrap();
    assert!(catalogue.installed("silero-vad").is_none());
}

#[tokio::test]
async fn an_unreachable_hub_is_told_as_the_cause() {
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources { hub_endpoint: UNREACHABLE.into(), hub_token: None };
    let catalogue = Catalogue::new(directory.path().to_owned(), sources);
    let error = catalogue.pull("whisper-small", |_| {}).await.unwrap_err();
    assert!(matches!(&error, CatalogueError::Fetch { causes, .. } if causes.len() == 1), "{error}");
    let error = catalogue.pull("whisper-gigantic", |_| {}).await.unwrap_err();
    assert!(matches!(error, CatalogueError::Unknown { .. }));
}

#[test]
fn the_best_able_model_transcribes() {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_in(directory.path());
    let best = |wished, language, translate| catalogue.stock().best_transcriber(wished, language, translate);
    let Err(EngineError::ModelMissing { name }) = best(None, None, false) else {
        panic!("nothing is installed")
    };
    assert_eq!(name, "whisper-base");

    pretend_installed(&catalogue, "whisper-tiny.en", "ggml-tiny.en-q8_0.bin", 43_550_778);
    assert_eq!(best(None, Some("en-GB"), false).unwrap(), "whisper-tiny.en");
    assert_eq!(best(None, None, false).unwrap(), "whisper-tiny.en");
    assert!(best(Some("whisper-tiny.en"), Some("de"), false).is_err());
    assert!(best(None, Some("en"), true).is_err());

    pretend_installed(&catalogue, "whisper-base", "ggml-base-q8_0.bin", 81_768_585);
    assert_eq!(best(None, None, false).unwrap(), "whisper-base");
    assert_eq!(best(Some("tiny.en"), Some("en"), false).unwrap(), "whisper-tiny.en");
    assert_eq!(best(Some("whisper-tiny.en"), Some("fr"), true).unwrap(), "whisper-base");
    assert_eq!(best(Some("whisper-large"), Some("en"), false).unwrap(), "whisper-base");
}

/// A file of the right size is what counts as installed; its content is the business of `verify`.
fn pretend_installed(catalogue: &Catalogue, name: &str, file: &str, size: u64) {
    let folder = catalogue.directory().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::File::create(folder.join(file)).unwrap().set_len(size).unwrap();
}
