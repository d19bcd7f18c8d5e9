//! Accounts and keys.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_family() {
    let server = Server::start();
    let user = server.user().await;
    let first = user.log_in().await;
    assert_eq!(first["token_type"], "bearer");
    assert_eq!(first["expires_in"], 3600);
    let refresh = json!({ "refresh_token": first["refresh_token"] });
    let second = user.post("/api/v1/auth/refresh", &refresh).await.expect(StatusCode::OK);
    let with = |token: &Value| user.with_token(token.as_str().unwrap());
    with(&second["access_token"]).get("/api/v1/usage").await.expect(StatusCode::OK);
    user.post("/api/v1/auth/refresh", &refresh).await.expect(StatusCode::UNAUTHORIZED);
    // Whoever holds the stolen pair is out as well.
    with(&second["access_token"]).get("/api/v1/usage").await.expect(StatusCode::UNAUTHORIZED);
    let newer = json!({ "refresh_token": second["refresh_token"] });
    user.post("/api/v1/auth/refresh", &newer).await.expect(StatusCode::UNAUTHORIZED);
    // The other login of the same user is another family.
    user.get("/api/v1/usage").await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_bites_at_once() {
    let server = Server::start();
    let user = server.user().await;
    assert_eq!(user.delete("/api/v1/auth/logout").await.status, StatusCode::NO_CONTENT);
    let refused = user.get("/api/v1/files").await.expect(StatusCode::UNAUTHORIZED);
    assert_eq!(refused["error"], "unauthorized");
    assert_eq!(refused["detail"], "Invalid token.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_until_it_is_deleted() {
    let server = Server::start();
    let user = server.user().await;
    let made =
        user.post("/api/v1/auth/api-keys", &json!({ "name": "nightly" })).await.expect(StatusCode::CREATED);
    let script = user.with_token(made["key"].as_str().unwrap());
    script.get("/api/v1/files").await.expect(StatusCode::OK);
    let listed = user.get("/api/v1/auth/api-keys").await.expect(StatusCode::OK);
    assert_eq!(listed["items"][0]["name"], "nightly");
    assert!(listed["items"][0].get("key").is_none_or(|key| key.is_null()), "the key is shown once");
    let path = format!("/api/v1/auth/api-keys/{}", made["id"].as_str().unwrap());
    let other = server.user().await;
    assert_eq!(other.delete(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(user.delete(&path).await.status, StatusCode::NO_CONTENT);
    script.get("/api/v1/files").await.expect(StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_make_are_refused() {
    let server = Server::start();
    let user = server.user().await;
    let tokens = user.log_in().await;
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIn0.";
    let tampered = format!("{}x", user.token);
    for token in [none, tampered.as_str(), tokens["refresh_token"].as_str().unwrap(), "", "Bearer", "vx_0"] {
        let answer = reqwest::Client::new()
            .request(Method::GET, format!("{}/api/v1/files", server.url))
            .header("authorization", format!("Bearer {token}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{token:?}");
    }
}
