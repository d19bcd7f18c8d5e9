//! Where the settings come from.

use super::Config;
use anyhow::{Context as _, bail};
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Keys that may come from a file of their own, named by the key and `_FILE`.
const SECRETS: [&str; 9] = [
    "database_url",
    "s3_secret_key",
    "token_secret",
    "url_secret",
    "metrics_token",
    "internal_key",
    "livekit_api_secret",
    "smtp_url",
    "redis_url",
];
/// Variables of the command line client, which the server does not read.
const CLIENT_VARIABLES: [&str; 2] = ["VOXMILL_SERVER", "VOXMILL_API_KEY"];
const PREFIX: &str = "VOXMILL_";

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// TOML file with the configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the database, the files and the secrets lie
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub bind: Option<String>,
}

/// What a process that works takes besides.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Work {
    /// Kinds of job to take, such as transcribe,clone-voice; all where none is named
    #[arg(long, value_name = "KINDS")]
    pub queues: Option<String>,
    /// Jobs at once, by kind, such as transcribe=2
    #[arg(long, value_name = "KIND=NUMBER")]
    pub slots: Option<String>,
    /// Where speech is transcribed: cpu, or cuda:0 for the first graphics card
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

impl Config {
    /// # Errors
    /// An unreadable file, an unknown key, or a value of the wrong type; the sentence names it.
    pub(crate) fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        Self::load_for_work(overrides, &Work::default())
    }

    /// # Errors
    /// As [`Config::load`].
    pub(crate) fn load_for_work(overrides: &Overrides, work: &Work) -> anyhow::Result<Self> {
        let told = [("QUEUES", &work.queues), ("SLOTS", &work.slots), ("DEVICE", &work.device)];
        let told = told.into_iter().filter_map(|(key, text)| Some((format!("{PREFIX}{key}"), text.clone()?)));
        let mut config = Self::read(overrides.config.as_deref(), variables()?.into_iter().chain(told))?;
        if let Some(data_dir) = &overrides.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if let Some(bind) = &overrides.bind {
            config.bind.clone_from(bind);
        }
        Ok(config)
    }

    pub(super) fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let defaults =
            Table::try_from(Self::default()).context("the defaults are no table. This is a bug.")?;
        let mut table = match file {
            None => Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("could not read the configuration {}", path.display()))?;
                text.parse().with_context(|| format!("{} is not TOML", path.display()))?
            }
        };
        for (variable, text) in variables {
            let Some(key) = variable.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else { continue };
            if CLIENT_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let (key, text) = match key.strip_suffix("_file").filter(|key| SECRETS.contains(key)) {
                Some(secret) => (secret.to_owned(), secret_from(&variable, &text)?),
                None => (key, text),
            };
            let Some(default) = defaults.get(&key) else {
                bail!("{variable} is no setting of Voxmill; see docs/configuration.md for those that are")
            };
            let value = typed_as(default, &text).with_context(|| format!("{variable}={text:?}"))?;
            table.insert(key, value);
        }
        let mut config: Self = Value::Table(table).try_into().context("the configuration")?;
        for (kind, slots) in Self::default().slots {
            config.slots.entry(kind).or_insert(slots);
        }
        config.check()?;
        Ok(config)
    }
}

/// The variables with our prefix; those of others are none of our business, whatever is in them.
fn variables() -> anyhow::Result<Vec<(String, String)>> {
    let ours = std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let text = |(name, text): (OsString, OsString)| match (name.into_string(), text.into_string()) {
        (Ok(name), Ok(text)) => Ok((name, text)),
        (Ok(name), Err(_)) => bail!("{name} is not UTF-8"),
        (Err(name), _) => bail!("the name {} is not UTF-8", name.display()),
    };
    ours.map(text).collect()
}

/// The text of a variable as a value of the same type as the default's.
fn typed_as(default: &Value, text: &str) -> anyhow::Result<Value> {
    Ok(match default {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.trim().parse().context("must be a whole number")?),
        Value::Float(_) => Value::Float(text.trim().parse().context("must be a number")?),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().context("must be true or false")?),
        Value::Array(_) => Value::Array(listed(text).map(|item| Value::String(item.to_owned())).collect()),
        // Such as `transcribe=2,clone-voice=1`.
        Value::Table(_) => {
            let mut table = Table::new();
            for item in listed(text) {
                let (key, number) = item.split_once('=').context("must be a list of name=number")?;
                table.insert(key.trim().to_owned(), Value::Integer(number.trim().parse()?));
            }
            Value::Table(table)
        }
        Value::Datetime(_) => bail!("no setting is a date"),
    })
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn secret_from(variable: &str, path: &str) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("could not read the file of {variable}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
