//! Traces: the spans of this process on their way to a collector, by OTLP over HTTP. They leave in the background, in
//! batches, from a queue of fixed size: where the collector is away they are lost, and nothing else is.

use crate::config::Config;
use crate::serve::host_name;
use anyhow::Context as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use pipeline::trace::{self, TraceParent};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

/// Spans that wait to be sent; those beyond are lost.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(2);
/// How long the collector may take for one batch, and for what is left at the end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whose spans are exported. Those of libraries are many, and say little.
const OURS: [&str; 5] = ["api", "pipeline", "storage", "voxmill", "worker"];

/// The export of spans, until it is finished.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// None where no collector is configured. To be called on the runtime, which sends.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Option<Self>> {
        if config.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = format!("{}/v1/traces", config.otlp_endpoint.trim_end_matches('/'));
        let sender = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .build()
            .context("otlp_endpoint")?;
        let exporter = Exporter {
            sender: Arc::new(sender),
            runtime: Handle::current(),
            is_away: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let instance = format!("{}-{}", host_name(), std::process::id());
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", "voxmill"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", instance))
            .build();
        let ratio = Sampler::TraceIdRatioBased(config.otlp_sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource)
            .build();
        trace::join_by(join);
        Ok(Some(Self { provider }))
    }

    /// Takes the spans, and none of the log lines within: they may be for the eyes of the operator alone.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("voxmill"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(is_ours).with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends what is left, if it can be sent soon.
    pub(crate) async fn finish(self) {
        let finished =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(PATIENCE)).await;
        if let Ok(Err(error)) = finished {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let home = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_span() && *metadata.level() <= Level::INFO && OURS.contains(&home)
}

fn join(span: &Span, parent: Option<TraceParent>) -> Option<TraceParent> {
    if let Some(parent) = parent {
        // A span that is not exported has no place in a trace.
        let _not_exported = span.set_parent(Context::new().with_remote_span_context(remote(parent)));
    }
    let context = span.context();
    let span = context.span().span_context().clone();
    Some(TraceParent {
        trace_id: NonZero::new(u128::from_be_bytes(span.trace_id().to_bytes()))?,
        span_id: NonZero::new(u64::from_be_bytes(span.span_id().to_bytes()))?,
        sampled: span.is_sampled(),
    })
}

fn remote(parent: TraceParent) -> SpanContext {
    const REMOTE: bool = true;
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let trace_id = TraceId::from_bytes(parent.trace_id.get().to_be_bytes());
    let span_id = SpanId::from_bytes(parent.span_id.get().to_be_bytes());
    SpanContext::new(trace_id, span_id, flags, REMOTE, TraceState::NONE)
}

/// Sends from the runtime, which the thread of the batches is not on, and tells the log when the collector goes and comes.
#[derive(Debug)]
struct Exporter {
    sender: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
    is_away: AtomicBool,
}

impl SpanExporter for Exporter {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            span.span_kind = kind(&span.name);
        }
        let sender = self.sender.clone();
        let sent = self.runtime.spawn(async move { sender.export(batch).await }).await;
        let sent = sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        let was_away = self.is_away.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_away => {
                tracing::warn!(%error, "traces cannot be exported, and are lost until they can");
            }
            Ok(()) if was_away => tracing::info!("traces are exported again"),
            Ok(()) | Err(_) => {}
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It comes before the first batch, so nobody else holds the sender.
        if let Some(sender) = Arc::get_mut(&mut self.sender) {
            sender.set_resource(resource);
        }
    }
}

/// What a span is to those who draw maps of services.
fn kind(name: &str) -> SpanKind {
    match name {
        "request" => SpanKind::Server,
        "job" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}
