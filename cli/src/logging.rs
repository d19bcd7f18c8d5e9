//! The log: JSON lines on standard error, or text for people. Beside it, traces for those who collect them.

use crate::config::Config;
use crate::traces::Traces;
use anyhow::Context as _;
use std::io::IsTerminal as _;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What signs requests to the object store tells all of them at its finest, signatures included; no log is for those.
const KEPT_SHORT: [&str; 4] =
    ["aws_runtime=warn", "aws_sigv4=warn", "aws_smithy_http_client=warn", "aws_smithy_runtime=warn"];

/// Gives the traces, to be finished when all else is, where a collector is configured.
///
/// # Errors
/// A filter that cannot be read, or the address of a collector that cannot be.
pub(crate) fn start(config: &Config) -> anyhow::Result<Option<Traces>> {
    let mut filter =
        EnvFilter::try_new(&config.log).with_context(|| format!("the log filter {:?}", config.log))?;
    for directive in KEPT_SHORT {
        filter = filter.add_directive(directive.parse()?);
    }
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = if config.log_format == "json" {
        log.json().flatten_event(true).with_current_span(false).with_timer(ChronoUtc::rfc_3339()).boxed()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let traces = Traces::start(config)?;
    // The filter is the log's alone: a quiet log must not lose spans.
    tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .with(traces.as_ref().map(Traces::layer))
        .init();
    Ok(traces)
}
