//! Which models somebody has: a machine by its directory, a fleet by what its workers say. And which of them does what.

use std::collections::BTreeSet;

use super::{Catalogue, DEFAULT_TRANSCRIBER, ENTRIES, Entry, Task};
use crate::EngineError;

/// Models by their names; those that the catalogue does not know count for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock(BTreeSet<String>);

impl Catalogue {
    /// What is on this machine.
    pub fn stock(&self) -> Stock {
        ENTRIES.iter().map(|entry| entry.name.clone()).filter(|name| self.installed(name).is_some()).collect()
    }
}

impl FromIterator<String> for Stock {
    fn from_iter<Names: IntoIterator<Item = String>>(names: Names) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Stock {
    /// Every model that there is.
    pub fn whole() -> Self {
        ENTRIES.iter().map(|entry| entry.name.clone()).collect()
    }

    pub fn names(&self) -> &BTreeSet<String> {
        &self.0
    }

    /// In the order of the catalogue.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        ENTRIES.iter().filter(|entry| self.has(&entry.name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// [`EngineError::ModelMissing`] where it is not there.
    pub fn require(&self, name: &str) -> Result<(), EngineError> {
        if self.has(name) { Ok(()) } else { Err(EngineError::ModelMissing { name: name.to_owned() }) }
    }

    /// The name of the model to transcribe with: the `wished` one if it is there and able, else the best that is.
    /// `language` none means that it has to be found out.
    pub fn best_transcriber(
        &self,
        wished: Option<&str>,
        language: Option<&str>,
        translate: bool,
    ) -> Result<String, EngineError> {
        let able = |entry: &&Entry| {
            entry.task == Task::Transcribe
                && entry.speaks(language)
                && (!translate || entry.translates && entry.languages.is_empty())
        };
        let able: Vec<&Entry> = self.entries().filter(able).collect();
        let wished = wished.and_then(|wish| able.iter().find(|entry| entry.answers_to(wish)));
        // Where the language is unknown, a model of one language is the last resort.
        let best = able.iter().max_by_key(|entry| language.is_some() || entry.languages.is_empty());
        match wished.or(best) {
            Some(entry) => Ok(entry.name.clone()),
            None => Err(EngineError::ModelMissing { name: DEFAULT_TRANSCRIBER.to_owned() }),
        }
    }
}
