//! Traces: one leads from a client's request through the queue to the process of the work and to the receiver of its end.

use crate::media;
use futures_util::{StreamExt as _, stream};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::receiver::{ALLOWED, Receiver};
use tests::server::{Server, eventually};
use tests::user::{User, answer};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";
const OTLP: &str = "VOXMILL_OTLP_ENDPOINT";

/// A job that has ended well, submitted as part of the client's trace.
async fn traced(user: &User, file: &str, (traceparent, callback): (&str, &str)) -> Value {
    let request = user.request(Method::POST, "/api/v1/process/extract-audio");
    let body = json!({ "video_file_id": file, "callback_url": callback });
    let request = request.json(&body).header("traceparent", traceparent);
    let job = answer(request.send().await.unwrap()).await.expect(StatusCode::ACCEPTED);
    let status = user.ended(job["job_id"].as_str().unwrap()).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    status
}

async fn tone(user: &User) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tone.wav");
    media::make(&path, &["-f", "lavfi", "-i", "sine=duration=1"]);
    user.uploaded(&path).await
}

async fn told(receiver: &Receiver) -> Option<String> {
    let received = eventually("the webhook", SOON, async || receiver.received().into_iter().next()).await;
    received.headers.get("traceparent").map(|text| text.to_str().unwrap().to_owned())
}

/// What the collector has got, and all of it from the server that is tested.
fn spans(collector: &Receiver) -> Vec<Span> {
    let mut spans = vec![];
    for received in collector.received() {
        assert_eq!(received.headers["content-type"], "application/x-protobuf");
        let request = ExportTraceServiceRequest::decode(received.body.as_slice()).unwrap();
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap();
            let name = resource.attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
            assert_eq!(text(name.value.as_ref()), "voxmill");
            for key in ["service.version", "service.instance.id"] {
                assert!(resource.attributes.iter().any(|attribute| attribute.key == key), "{key}");
            }
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

/// The one span of the client's trace with this name and this attribute.
#[track_caller]
fn span<'a>(spans: &'a [Span], name: &str, (key, value): (&str, &str)) -> &'a Span {
    let mut found = spans.iter().filter(|span| {
        hex::encode(&span.trace_id) == TRACE && span.name == name && attribute(span, key) == value
    });
    let first = found.next().unwrap_or_else(|| panic!("no span {name} with {key} = {value}: {spans:#?}"));
    assert!(found.next().is_none(), "two spans {name} with {key} = {value}");
    first
}

fn attribute(span: &Span, key: &str) -> String {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key);
    attribute.map(|attribute| text(attribute.value.as_ref())).unwrap_or_default()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        other => panic!("an attribute of an odd type: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_to_the_child_and_to_the_receiver() {
    let (collector, receiver) = (Receiver::start().await, Receiver::start().await);
    let endpoint = collector.url.trim_end_matches("/hook");
    // A log that says little keeps no span back.
    let mut server = Server::start_with(&[(OTLP, endpoint), ALLOWED, ("VOXMILL_LOG", "warn,voxmill=info")]);
    let user = server.user().await;
    let file = tone(&user).await;
    let job = traced(&user, &file, (&format!("00-{TRACE}-{CLIENT}-01"), &receiver.url)).await;
    let told = told(&receiver).await.unwrap();
    assert!(server.terminate().success());

    let spans = spans(&collector);
    let request = span(&spans, "request", ("http.method", "POST"));
    assert_eq!(hex::encode(&request.parent_span_id), CLIENT);
    assert_eq!(attribute(request, "http.status"), "202");
    let run = span(&spans, "job", ("job.kind", "extract-audio"));
    assert_eq!(run.parent_span_id, request.span_id);
    assert_eq!(attribute(run, "job.id"), job["job_id"].as_str().unwrap());
    for (key, value) in [("job.attempt", "1"), ("job.epoch", "1"), ("job.end", "completed")] {
        assert_eq!(attribute(run, key), value);
    }
    let child = span(&spans, "media", ("media.operation", "extract-audio"));
    assert_eq!(child.parent_span_id, run.span_id);
    assert_eq!(attribute(child, "media.exit"), "exit status: 0");
    assert!(attribute(child, "media.seconds").parse::<f64>().unwrap() > 0.0);
    let delivery = span(&spans, "job", ("job.kind", "deliver-webhook"));
    assert_eq!(delivery.parent_span_id, request.span_id);
    assert_eq!(told, format!("00-{TRACE}-{}-01", hex::encode(&delivery.span_id)));
    // What the log says to the operator is not for the collector, and what others' libraries do is not told.
    let names = ["request", "job", "media"];
    assert!(spans.iter().all(|span| span.events.is_empty() && names.contains(&span.name.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_does_not_sample_is_not_exported_and_keeps_its_trace() {
    let (collector, receiver) = (Receiver::start().await, Receiver::start().await);
    let endpoint = collector.url.trim_end_matches("/hook");
    let mut server = Server::start_with(&[(OTLP, endpoint), ALLOWED, ("VOXMILL_OTLP_SAMPLE_RATIO", "0")]);
    let user = server.user().await;
    let file = tone(&user).await;
    traced(&user, &file, (&format!("00-{TRACE}-{CLIENT}-00"), &receiver.url)).await;
    let told = told(&receiver).await.unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    assert!(server.terminate().success());
    assert!(collector.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_holds_nothing_up() {
    // Connections come to be, and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let receiver = Receiver::start().await;
    let mut server = Server::start_with(&[(OTLP, &endpoint), ALLOWED]);
    let user = server.user().await;
    let file = tone(&user).await;
    // More than are kept for the collector.
    let begun = Instant::now();
    let requests = (0..3_000).map(|_| user.get("/health"));
    let mut answers = stream::iter(requests).buffer_unordered(16);
    while let Some(answer) = answers.next().await {
        answer.expect(StatusCode::OK);
    }
    traced(&user, &file, (&format!("00-{TRACE}-{CLIENT}-01"), &receiver.url)).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    eventually("the warning", SOON, async || {
        server.log().contains("traces cannot be exported").then_some(())
    })
    .await;
    let asked = Instant::now();
    assert!(server.terminate().success());
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_clients_trace_is_in_the_log_and_goes_on() {
    let server = Server::start_with(&[ALLOWED]);
    let user = server.user().await;
    let file = tone(&user).await;
    let receiver = Receiver::start().await;
    let traceparent = format!("00-{TRACE}-{CLIENT}-01");
    traced(&user, &file, (&traceparent, &receiver.url)).await;
    assert_eq!(told(&receiver).await.as_deref(), Some(traceparent.as_str()));
    let log = server.log();
    for name in ["request", "job"] {
        let in_trace = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
            let spans = line["spans"].as_array().cloned().unwrap_or_default();
            spans.iter().any(|span| span["name"] == name && span["trace_id"] == TRACE)
        });
        assert!(in_trace, "no line of a {name} has the trace:\n{log}");
    }

    // What is no traceparent is none.
    let unaware = Receiver::start().await;
    traced(&user, &file, (&traceparent.to_uppercase(), &unaware.url)).await;
    assert_eq!(told(&unaware).await, None);
}
