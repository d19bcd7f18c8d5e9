//! `voxmill admin`: what the owner of the machine may do to accounts, straight in the database.

use crate::config::{Config, Overrides};
use crate::{say, serve};
use anyhow::Context as _;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use std::collections::HashMap;
use std::num::NonZeroU32;
use storage::Storage;
use storage::audit::{EventKind, NewEvent};
use storage::error::Error;
use storage::ids::UserId;
use storage::page::Page;
use storage::users::{Role, User};

#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Subcommand)]
enum Action {
    /// Make a registered user an administrator
    Add { email: String },
    /// Make an administrator a user again
    Remove { email: String },
    /// Make an API key for a registered user and print it, this once
    ApiKey {
        email: String,
        #[arg(long, default_value = "command line")]
        name: String,
        /// Requests a minute of this key, in place of the limits that hold for browsers
        #[arg(long, value_name = "REQUESTS", default_value = "600")]
        rate: NonZeroU32,
    },
    /// Print security events, the newest first: time, kind, user, client address, request id
    Audit {
        /// Of this user alone
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
        /// At most so many
        #[arg(long, value_name = "EVENTS", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
}

impl Admin {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let storage = serve::storage_beside_a_server(&Config::load(&self.overrides)?).await?;
        match self.action {
            Action::Add { email } => {
                set_role(&storage, &email, Role::Admin).await?;
                record(&storage, EventKind::AdminAdded, &email).await
            }
            Action::Remove { email } => {
                set_role(&storage, &email, Role::User).await?;
                record(&storage, EventKind::AdminRemoved, &email).await
            }
            Action::ApiKey { email, name, rate } => {
                let user = user(&storage, &email).await?;
                let (key, plain) = storage.api_keys.create(user.id, &name, None).await?;
                storage.api_keys.set_rate(user.id, key.id, rate).await?;
                record(&storage, EventKind::ApiKeyMadeByAdmin, &email).await?;
                say(&plain);
                Ok(())
            }
            Action::Audit { user: email, limit } => {
                let of = match email {
                    Some(email) => Some(user(&storage, &email).await?.id),
                    None => None,
                };
                print_events(&storage, of, limit).await
            }
        }
    }
}

async fn set_role(storage: &Storage, email: &str, role: Role) -> anyhow::Result<()> {
    storage.users.set_role(email, role).await.with_context(|| unknown(email))?;
    Ok(())
}

async fn record(storage: &Storage, kind: EventKind, email: &str) -> anyhow::Result<()> {
    let user = Some(user(storage, email).await?.id);
    storage.audit.record(NewEvent { kind, user, client_address: None, request_id: None }).await?;
    Ok(())
}

async fn user(storage: &Storage, email: &str) -> anyhow::Result<User> {
    storage.users.by_email(email).await?.with_context(|| unknown(email))
}

/// One line an event, its fields between tabs; what is not known is a dash.
async fn print_events(storage: &Storage, of: Option<UserId>, limit: u64) -> anyhow::Result<()> {
    let events = storage.audit.list(of, &Page { limit, cursor: None }).await?.items;
    let mut names: HashMap<UserId, String> = HashMap::new();
    for event in events {
        if let Some(id) = event.user.filter(|id| !names.contains_key(id)) {
            names.insert(id, name(storage, id).await?);
        }
        let user = event.user.and_then(|id| names.get(&id)).map_or("-", String::as_str);
        let time = event.created_at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let address = event.client_address.as_deref().unwrap_or("-");
        let request = event.request_id.as_deref().unwrap_or("-");
        say(&[&time, event.kind.as_str(), user, address, request].join("\t"));
    }
    Ok(())
}

/// The address of an account, or the id of one that is gone.
async fn name(storage: &Storage, id: UserId) -> anyhow::Result<String> {
    match storage.users.get(id).await {
        Ok(user) => Ok(user.email),
        Err(Error::NotFound) => Ok(id.to_string()),
        Err(error) => Err(error.into()),
    }
}

fn unknown(email: &str) -> String {
    format!("no account has the address {email}; register it first")
}
