//! The log: JSON lines on standard error, or text for people.

use crate::config::Config;
use anyhow::Context as _;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;

/// What signs requests to the object store tells all of them at its finest, signatures included; no log is for those.
const KEPT_SHORT: [&str; 4] =
    ["aws_runtime=warn", "aws_sigv4=warn", "aws_smithy_http_client=warn", "aws_smithy_runtime=warn"];

/// # Errors
/// A filter that cannot be read.
pub(crate) fn start(config: &Config) -> anyhow::Result<()> {
    let mut filter =
        EnvFilter::try_new(&config.log).with_context(|| format!("the log filter {:?}", config.log))?;
    for directive in KEPT_SHORT {
        filter = filter.add_directive(directive.parse()?);
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log_format == "json" {
        log.json().flatten_event(true).with_current_span(false).with_timer(ChronoUtc::rfc_3339()).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}
