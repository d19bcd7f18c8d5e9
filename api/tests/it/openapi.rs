use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::{TestApp, request};
use poem::http::Method;

/// The committed document is the one that the code makes. `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_committed_document_is_current() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"));
    let document = api::openapi() + "\n";
    assert_eq!(document, api::openapi() + "\n", "the document must be the same at every call");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == document, "api/openapi.json is stale: run the test with UPDATE_EXPECT=1");
}

#[test]
fn every_operation_is_named_tagged_and_says_how_it_fails() {
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    let mut names = HashSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no id"));
            assert!(names.insert(name.to_owned()), "{name} occurs twice");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{place}");
            assert!(operation["summary"].is_string(), "{place} has no summary");
            assert!(operation["responses"].get("500").is_some(), "{place}");
            assert!(!path.ends_with('/') || path == "/", "{place}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(!response["description"].as_str().unwrap().is_empty(), "{place} {status}");
                if status.as_str() >= "400" && status != "503" {
                    let schema = &response["content"]["application/json; charset=utf-8"]["schema"];
                    let expected = match (name, status.as_str()) {
                        ("get_session_user", "401") => named("NotAuthenticated"),
                        ("validate_session", "401") => named("InvalidSession"),
                        _ => error_schema(path, status),
                    };
                    assert_eq!(schema, &expected, "{place} {status}");
                }
            }
        }
    }
}

/// The body of an error in the dialect of the path.
fn error_schema(path: &str, status: &str) -> Value {
    if path.starts_with("/api/v1/") {
        named("Error")
    } else if is_enveloped(path) {
        named("Envelope")
    } else if status == "400" {
        json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}})
    } else {
        named("Detail")
    }
}

fn is_enveloped(path: &str) -> bool {
    let starts = ["/auth/", "/agents", "/campaigns", "/call-logs", "/call-recordings", "/analytics"];
    starts.iter().any(|start| path.starts_with(start))
}

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[tokio::test]
async fn the_document_and_the_page_are_served() {
    let app = TestApp::new().await;
    let document = app.get("/openapi.json", "").await.expect(200).json().await;
    assert_eq!(document, serde_json::from_str::<Value>(&api::openapi()).unwrap());
    let page = app.get("/docs", "").await.expect(200);
    assert!(page.header("content-security-policy").contains("script-src 'self' 'unsafe-inline'"));
    assert!(String::from_utf8(page.bytes().await).unwrap().contains("SwaggerUIBundle"));
}

/// A stranger gets nowhere without a token, except where nothing is at stake.
#[tokio::test]
async fn every_operation_but_the_open_ones_wants_a_token() {
    const OPEN: [&str; 17] = [
        "register_user",
        "login_user",
        "refresh_token",
        "sign_up",
        "sign_in",
        "refresh_day_token",
        "register_with_session",
        "login_with_session",
        "get_session_user",
        "ask_for_password_reset",
        "confirm_password_reset",
        "validate_session",
        "get_live_token",
        "start_agent_session",
        "get_health",
        "get_readiness",
        "get_metrics",
    ];
    let app = TestApp::new().await;
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for (method, operation) in operations.as_object().unwrap() {
            if OPEN.contains(&operation["operationId"].as_str().unwrap()) {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let body = app.send(request(method, &path, "").finish()).await.expect(401).json().await;
            let sentence = "Authentication credentials were not provided.";
            if path.starts_with("/api/v1/") {
                assert_eq!((&body["error"], &body["detail"]), (&json!("unauthorized"), &json!(sentence)));
                assert_eq!(body["message"], "Invalid or expired token");
            } else if is_enveloped(&path) {
                assert_eq!((&body["error"]["code"], &body["success"]), (&json!("AUTH_003"), &json!(false)));
            } else {
                assert_eq!(body, json!({"detail": sentence}));
            }
        }
    }
}
