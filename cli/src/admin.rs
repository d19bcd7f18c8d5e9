//! `voxmill admin`: what the owner of the machine may do to accounts, straight in the database.

use crate::config::{Config, Overrides};
use crate::{say, serve};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::num::NonZeroU32;
use storage::users::Role;

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
}

impl Admin {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let storage = serve::storage_beside_a_server(&Config::load(&self.overrides)?).await?;
        match self.action {
            Action::Add { email } => set_role(&storage, &email, Role::Admin).await,
            Action::Remove { email } => set_role(&storage, &email, Role::User).await,
            Action::ApiKey { email, name, rate } => {
                let user = storage.users.by_email(&email).await?.with_context(|| unknown(&email))?;
                let (key, plain) = storage.api_keys.create(user.id, &name, None).await?;
                storage.api_keys.set_rate(user.id, key.id, rate).await?;
                say(&plain);
                Ok(())
            }
        }
    }
}

async fn set_role(storage: &storage::Storage, email: &str, role: Role) -> anyhow::Result<()> {
    storage.users.set_role(email, role).await.with_context(|| unknown(email))?;
    Ok(())
}

fn unknown(email: &str) -> String {
    format!("no account has the address {email}; register it first")
}
