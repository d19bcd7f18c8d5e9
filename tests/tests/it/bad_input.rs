//! Bad input: every operation of the document with bodies, parameters and tokens that are wrong. Each is refused with a
//! 4xx in the words of its surface, and never with a failure of ours.

mod bodies;
mod tokens;

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tests::document::{Operation, operations};
use tests::server::Server;
use tests::user::{Answer, User, answer};

/// In the place of a parameter of the path.
const PATH_PARTS: [&str; 8] =
    ["%00", "%ff", "-1", "0x10", "99999999999999999999", "%2e%2e%2fetc", "%F0%9F%98%80", "null"];

/// In the place of a parameter of the query.
const QUERY_VALUES: [&str; 8] =
    ["", "%00", "%ff", "-1", "1.5", "99999999999999999999", "NaN", "%F0%9F%98%80"];

/// Headers that mean something to some operation.
const HEADERS: [(&str, &str); 7] = [
    ("idempotency-key", "é"),
    ("last-event-id", "-99999999999999999999"),
    ("range", "bytes=9-1,99999999999999999999-"),
    ("cookie", "sessionid=\"; sessionid=%00"),
    ("x-internal-key", "é"),
    ("if-none-match", "W/\"\""),
    ("accept", "nothing/at-all"),
];

/// Nothing is wrong with the sample of these, and what they do ends the user of the test.
const FINAL: [&str; 4] = ["change_password", "erase_account", "logout_session", "logout_user"];

/// One server, one user, and what went wrong.
struct Trial {
    user: User,
    requests: usize,
    faults: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_is_refused_in_the_words_of_its_surface() {
    let server = Server::start_with(&[("VOXMILL_TOKEN_SECRET", tokens::SECRET)]);
    let user = server.user().await;
    // Administration is tried too.
    assert!(server.voxmill(&["admin", "add", &user.email]).status().unwrap().success());
    let all = operations(&user).await;
    let mut trial = Trial { user, requests: 0, faults: vec![] };
    for operation in &all {
        trial.try_parameters(operation).await;
        trial.try_headers(operation).await;
        if let Some(schema) = operation.takes_json() {
            trial.try_bodies(operation, schema).await;
        }
    }
    for token in tokens::wrong(&trial.user).await {
        for operation in all.iter().filter(|operation| !operation.is_open) {
            trial.try_token(operation, &token).await;
        }
    }
    let Trial { requests, faults, .. } = trial;
    println!("bad input: {} operations, {requests} requests, {} faults", all.len(), faults.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

impl Trial {
    async fn try_parameters(&mut self, operation: &Operation) {
        for parameter in &operation.parameters {
            match parameter.place.as_str() {
                "path" => {
                    for part in PATH_PARTS {
                        let path = operation.path.replace(&format!("{{{}}}", parameter.name), part);
                        let found = self.send(self.request(operation, &sample_path(&path))).await;
                        self.expect(
                            &format!("{} at {path}", operation.id),
                            found.status.is_client_error(),
                            &operation.path,
                            found,
                        );
                    }
                }
                "query" => {
                    for value in QUERY_VALUES {
                        let path = format!("{}?{}={value}", sample_path(&operation.path), parameter.name);
                        let found = self.send(self.request(operation, &path)).await;
                        self.expect(&format!("{} at {path}", operation.id), true, &operation.path, found);
                    }
                }
                _ => {}
            }
        }
    }

    async fn try_headers(&mut self, operation: &Operation) {
        if FINAL.contains(&operation.id.as_str()) {
            return;
        }
        for (name, value) in HEADERS {
            let request = self.request(operation, &sample_path(&operation.path)).header(name, value);
            let found = self.send(request).await;
            self.expect(&format!("{} with {name}", operation.id), true, &operation.path, found);
        }
    }

    async fn try_token(&mut self, operation: &Operation, (name, token): &(&'static str, String)) {
        let stranger = self.user.with_token("");
        let request = stranger.request(operation.method.clone(), &sample_path(&operation.path));
        let found = self.send(request.header("authorization", token)).await;
        let right = found.status == StatusCode::UNAUTHORIZED;
        self.expect(&format!("{} with {name}", operation.id), right, &operation.path, found);
    }

    /// What the operation is asked with a body; without one it is refused.
    fn request(&self, operation: &Operation, path: &str) -> RequestBuilder {
        let request = self.user.request(operation.method.clone(), path);
        match operation.takes_json() {
            Some(schema) => request.json(&schema.sample("")),
            None => request,
        }
    }

    fn with_body(&self, operation: &Operation, kind: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        // Where no token is needed, one could stand for what is missing in the body.
        let caller = if operation.is_open { &self.user.with_token("") } else { &self.user };
        let request = caller.request(operation.method.clone(), &sample_path(&operation.path));
        request.header(CONTENT_TYPE, kind).body(body)
    }

    async fn send(&mut self, request: RequestBuilder) -> Answer {
        self.requests += 1;
        answer(request.send().await.unwrap()).await
    }

    fn expect(&mut self, what: &str, right: bool, path: &str, found: Answer) {
        let failed = found.status.is_server_error() && found.status != StatusCode::SERVICE_UNAVAILABLE;
        let speaks = !found.status.is_client_error() || speaks(path, &found);
        if !right || failed || !speaks {
            self.faults.push(format!("{what}: {} {}", found.status, found.body));
        }
    }
}

/// Whether an error is in the dialect of its path.
fn speaks(path: &str, found: &Answer) -> bool {
    let body = &found.body;
    let enveloped = ["/auth/", "/agents", "/campaigns", "/call-logs", "/call-recordings", "/analytics"];
    if path.starts_with("/api/v1/") {
        return ["error", "message", "detail"].iter().all(|name| body[name].is_string());
    }
    if enveloped.iter().any(|start| path.starts_with(start)) {
        let error = &body["error"];
        return body["success"] == false
            && body["data"].is_null()
            && error["code"].is_string()
            && error["message"].is_string();
    }
    let named = |body: &Value| body.as_object().is_some_and(|fields| fields.values().all(Value::is_array));
    // Three answers of its own document.
    let own = [json!({"authenticated": false}), json!({"valid": false})];
    body["detail"].is_string() || own.contains(body) || found.status == StatusCode::BAD_REQUEST && named(body)
}

/// Ids that nothing has in the places of the path.
fn sample_path(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{project_id}" | "{number}" => "1".to_owned(),
        part if part.starts_with('{') => uuid::Uuid::new_v4().to_string(),
        part => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}
