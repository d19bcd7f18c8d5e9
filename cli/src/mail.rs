//! Letters by SMTP.

use anyhow::Context as _;
use api::doors::{Letter, Mail};
use async_trait::async_trait;
use lettre::message::{Mailbox, header::ContentType};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use std::error::Error;
use std::time::Duration;

/// How long the mail server may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct SmtpMail {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMail {
    /// Of a URL such as `smtps://user:password@mail.example`. Connects to nobody yet.
    pub(crate) fn new(url: &str, from: &str) -> anyhow::Result<Self> {
        let from = from.parse().with_context(|| format!("mail_from = {from:?} is no address"))?;
        // The URL holds a password, so it is not repeated.
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .context("smtp_url must be smtps://…, smtp://…?tls=required or smtp://…")?
            .timeout(Some(PATIENCE))
            .build();
        Ok(Self { server, from })
    }
}

#[async_trait]
impl Mail for SmtpMail {
    async fn send(&self, letter: Letter) -> Result<(), Box<dyn Error + Send + Sync>> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(letter.to.parse()?)
            .subject(letter.subject)
            .message_id(None)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)?;
        self.server.send(message).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::SmtpMail;

    #[tokio::test]
    async fn what_cannot_be_a_server_or_an_address_is_refused_without_the_password() {
        let refused = |url, from| format!("{:#}", SmtpMail::new(url, from).err().unwrap());
        assert!(refused("http://user:secret@host", "a@example.com").contains("smtp_url"));
        assert!(!refused("http://user:secret@host", "a@example.com").contains("secret"));
        assert!(refused("smtp://host", "nobody").contains("mail_from"));
        assert!(SmtpMail::new("smtps://user:secret@host", "Voxmill <a@example.com>").is_ok());
    }
}
