//! Each document's requests and answers, as they are written there, against the real binary. A client that was made from one
//! document alone sends just these.

#![expect(clippy::print_stdout, reason = "the count of exchanges is what the reader of a run wants to see")]

mod onevoice;
mod video_cloning;
mod voice_agent;
mod voice_project;
mod voiceera;

use crate::conformance::Expected::{Fields, Nothing};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use tests::server::Server;

/// A client of one document, and how many of its exchanges the server has passed.
struct Client {
    document: &'static str,
    url: String,
    http: reqwest::Client,
    token: Option<String>,
    /// The last that the server gave, as a browser keeps it.
    cookie: Option<String>,
    exchanges: u32,
}

/// What a document shows of an answer.
enum Expected {
    /// No body.
    Nothing,
    /// An example. What only the server can know may differ: numbers, ids, times, URLs, tokens, and what is null; all else is
    /// the same, and every field is there.
    Fields(Value),
}

impl Client {
    fn new(document: &'static str, server: &Server) -> Self {
        let (url, http) = (server.url.clone(), reqwest::Client::new());
        Self { document, url, http, token: None, cookie: None, exchanges: 0 }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match (&self.token, &self.cookie) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(cookie)) => request.header(header::COOKIE, cookie),
            (None, None) => request,
        }
    }

    async fn get(&mut self, path: &str, status: u16, example: Value) -> Value {
        self.exchange(self.request(Method::GET, path), status, Fields(example)).await
    }

    async fn post(&mut self, path: &str, body: Value, (status, example): (u16, Value)) -> Value {
        self.exchange(self.request(Method::POST, path).json(&body), status, Fields(example)).await
    }

    async fn put(&mut self, path: &str, body: Value, (status, example): (u16, Value)) -> Value {
        self.exchange(self.request(Method::PUT, path).json(&body), status, Fields(example)).await
    }

    async fn patch(&mut self, path: &str, body: Value, (status, example): (u16, Value)) -> Value {
        self.exchange(self.request(Method::PATCH, path).json(&body), status, Fields(example)).await
    }

    async fn delete(&mut self, path: &str, status: u16) {
        self.exchange(self.request(Method::DELETE, path), status, Nothing).await;
    }

    /// Sends a request of the document; its answer, which is as the document has it.
    async fn exchange(&mut self, request: RequestBuilder, status: u16, expected: Expected) -> Value {
        let request = request.build().unwrap();
        let name = format!("{} {} {}", self.document, request.method(), request.url().path());
        let response = self.http.execute(request).await.unwrap();
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            self.cookie = Some(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        let answer = read(response).await;
        assert_eq!(answer.0.as_u16(), status, "{name}: {:#}", answer.1);
        match expected {
            Nothing => assert_eq!(answer.1, Value::Null, "{name}"),
            Fields(example) => {
                let faults = differences(&example, &answer.1, "");
                assert!(faults.is_empty(), "{name}: {faults:?} in {:#}", answer.1);
            }
        }
        self.exchanges += 1;
        answer.1
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            println!("[{}] {} exchanges as the document has them", self.document, self.exchanges);
        }
    }
}

/// Null where there is no body.
async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    let text = || Value::String(format!("{} bytes", bytes.len()));
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| text())
    };
    (status, body)
}

/// Where `answer` is not as `example` has it.
fn differences(example: &Value, answer: &Value, place: &str) -> Vec<String> {
    let fault = || vec![format!("{place}: {answer} is not like {example}")];
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => example
            .iter()
            .flat_map(|(name, example)| match answer.get(name) {
                Some(answer) => differences(example, answer, &format!("{place}.{name}")),
                None => vec![format!("{place}.{name} is absent")],
            })
            .collect(),
        (Value::Array(example), Value::Array(answer)) => match example.first() {
            // A list of objects may be longer than the example, but not empty.
            Some(first @ Value::Object(_)) if !answer.is_empty() => {
                answer.iter().flat_map(|answer| differences(first, answer, &format!("{place}[]"))).collect()
            }
            _ if example == answer => vec![],
            _ => fault(),
        },
        (Value::String(example), Value::String(answer)) if is_like(example, answer) => vec![],
        (Value::Number(example), Value::Number(answer)) if example.is_f64() || answer.is_u64() => vec![],
        (Value::Null, _) => vec![],
        (Value::Bool(example), Value::Bool(answer)) if example == answer => vec![],
        _ => fault(),
    }
}

fn is_like(example: &str, answer: &str) -> bool {
    let is_time = |text: &str| text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    let is_id = |text: &str| uuid::Uuid::parse_str(text).is_ok();
    if is_time(example) {
        is_time(answer)
    } else if is_id(example) || example.ends_with("uuid") || example == "uuid-here" {
        is_id(answer)
    } else if example.contains("...") || example.contains("token") {
        !answer.is_empty()
    } else if example.starts_with("https://") {
        answer.starts_with("http")
    } else {
        example == answer
    }
}

#[test]
fn what_differs_from_an_example_is_seen() {
    let example =
        json!({"id": "uuid-here", "name": "A", "at": "2024-01-29T10:30:00Z", "n": 1, "items": [{"x": 1}]});
    let id = uuid::Uuid::new_v4();
    let answer = json!({"id": id, "name": "A", "at": "2026-01-01T00:00:00.5Z", "n": 7, "items": [{"x": 2}, {"x": 3}], "more": 1});
    assert_eq!(differences(&example, &answer, ""), Vec::<String>::new());
    for (field, wrong) in [
        ("id", json!("1")),
        ("name", json!("B")),
        ("at", json!("2026-01-01")),
        ("n", json!("1")),
        ("n", json!(1.5)),
        ("items", json!([])),
        ("items", json!([{"y": 1}])),
    ] {
        let mut answer = answer.clone();
        answer[field] = wrong;
        assert_eq!(differences(&example, &answer, "").len(), 1, "{answer}");
    }
}
