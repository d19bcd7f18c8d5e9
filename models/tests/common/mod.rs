//! Models and recordings for the tests of the engines.

use std::path::PathBuf;

use models::catalogue::{Catalogue, InstalledModel, Sources, default_directory};
use models::vad::Vad;

/// The model, fetched if this machine lacks it.
pub(crate) fn model(name: &str) -> InstalledModel {
    let catalogue = Catalogue::new(default_directory(), Sources::from_env());
    catalogue.installed(name).unwrap_or_else(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(catalogue.pull(name, |_| {})).unwrap()
    })
}

pub(crate) fn vad() -> Vad {
    Vad::load(&model("silero-vad").weights()).unwrap()
}

/// The folder of recordings; none, with a word about it, on a machine that has none.
pub(crate) fn recordings() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/speech"));
    if !folder.is_dir() {
        eprintln!("left out: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}
