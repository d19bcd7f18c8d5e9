//! `/api/auth` and `/api/internal`, as their document has them, and what a cookie may do elsewhere.

use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, INTERNAL_KEY, TestApp, by_cookie, request};

fn registration() -> Value {
    json!({"email": "user@example.com", "password": "securepass123", "display_name": "John Doe"})
}

/// Registers; the cookie.
async fn browser(app: &TestApp) -> String {
    app.post("/api/auth/register", "", &registration()).await.expect(201).session()
}

#[tokio::test]
async fn the_document_is_followed_to_the_letter() {
    let app = TestApp::new().await;
    let answer = app.post("/api/auth/register", "", &registration()).await.expect(201);
    let registered = answer.session();
    let user = answer.json().await;
    let object = user.as_object().unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["created_at", "display_name", "email", "id"]);
    assert_eq!((&user["email"], &user["display_name"]), (&json!("user@example.com"), &json!("John Doe")));

    let body = json!({"email": "user@example.com", "password": "securepass123"});
    let answer = app.post("/api/auth/login", "", &body).await.expect(200);
    let cookie = answer.session();
    assert_ne!(cookie, registered);
    assert_eq!(answer.json().await, user);
    let me = app.send(by_cookie(Method::GET, "/api/auth/me", &cookie).finish()).await.expect(200);
    assert_eq!(me.json().await, user);

    let answer = app.send(by_cookie(Method::POST, "/api/auth/logout", &cookie).finish()).await.expect(200);
    assert!(answer.header("set-cookie").starts_with("sessionid=; Path=/; Max-Age=0;"));
    assert_eq!(answer.json().await, json!({"message": "Logged out successfully"}));
    let me = app.send(by_cookie(Method::GET, "/api/auth/me", &cookie).finish()).await.expect(401);
    assert_eq!(me.json().await, json!({"authenticated": false}));
    app.send(by_cookie(Method::GET, "/api/auth/me", &registered).finish()).await.expect(200);
    let again = app.send(by_cookie(Method::POST, "/api/auth/logout", &cookie).finish()).await.expect(401);
    assert_eq!(again.json().await, json!({"detail": "Authentication credentials were not provided."}));
}

#[tokio::test]
async fn refusals_name_every_field_in_the_words_of_the_document() {
    let app = TestApp::new().await;
    browser(&app).await;
    let register =
        async |body: Value| app.post("/api/auth/register", "", &body).await.expect(400).json().await;
    let short = "This password is too short. It must contain at least 8 characters.";
    assert_eq!(
        register(json!({"email": "USER@example.com", "password": "short", "display_name": "John"})).await,
        json!({"email": ["User with this email already exists."], "password": [short]})
    );
    assert_eq!(
        register(json!({"email": "nobody", "password": "short", "display_name": " "})).await,
        json!({
            "email": ["Enter a valid email address."],
            "password": [short],
            "display_name": ["This field may not be blank."],
        })
    );
    let taken = json!({"email": ["User with this email already exists."]});
    assert_eq!(register(registration()).await, taken);
    assert_eq!(
        register(json!({"email": "a@example.com", "password": "securepass123"})).await,
        json!({"display_name": ["is required"]})
    );

    for (email, password) in [
        ("user@example.com", "wrong"),
        ("nobody@example.com", "securepass123"),
        ("no address", "securepass123"),
    ] {
        let body = json!({"email": email, "password": password});
        let answer = app.post("/api/auth/login", "", &body).await.expect(401);
        assert_eq!(answer.header("set-cookie"), "");
        assert_eq!(answer.json().await, json!({"detail": "Invalid credentials"}));
    }
    let (one, other) = {
        let body = json!({"email": "b@example.com", "password": "securepass123", "display_name": "B"});
        tokio::join!(app.post("/api/auth/register", "", &body), app.post("/api/auth/register", "", &body))
    };
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);
}

#[tokio::test]
async fn a_cookie_opens_every_door() {
    let app = TestApp::new().await;
    let cookie = browser(&app).await;
    let key = by_cookie(Method::POST, "/api/v1/auth/api-keys", &cookie)
        .content_type("application/json")
        .body(json!({"name": "script"}).to_string());
    app.send(key).await.expect(201);
    let among = format!("theme=dark; {cookie}; other");
    for path in ["/api/v1/files", "/auth/me", "/api/users/profile", "/api/auth/me"] {
        app.send(by_cookie(Method::GET, path, &among).finish()).await.expect(200);
    }
    for wrong in ["sessionid=", "sessionid=nonsense", "session=x", &cookie.replace("sessionid", "SESSIONID")]
    {
        app.send(by_cookie(Method::GET, "/api/v1/files", wrong).finish())
            .await
            .error(401, "unauthorized")
            .await;
    }
    // A token that was sent on purpose is what counts.
    let both = by_cookie(Method::GET, "/api/v1/files", &cookie).header("authorization", "Bearer nonsense");
    app.send(both.finish()).await.error(401, "unauthorized").await;
    let token = cookie.strip_prefix("sessionid=").unwrap();
    app.get("/api/v1/files", token).await.error(401, "unauthorized").await;
    app.post("/api/v1/auth/refresh", "", &json!({"refresh_token": token}))
        .await
        .error(401, "unauthorized")
        .await;
    app.send(by_cookie(Method::DELETE, "/api/v1/auth/logout", &cookie).finish()).await.expect(204);
    app.send(by_cookie(Method::GET, "/api/v1/files", &cookie).finish()).await.expect(401);
}

#[tokio::test]
async fn no_other_site_acts_by_cookie() {
    let app = TestApp::new().await;
    let cookie = browser(&app).await;
    let send = async |method: Method, path: &str, headers: &[(&str, &str)]| -> Answer {
        let mut sent = by_cookie(method, path, &cookie).content_type("application/json");
        for (name, value) in headers {
            sent = sent.header(*name, *value);
        }
        app.send(sent.body(json!({"display_name": "John"}).to_string())).await
    };
    let path = "/api/users/profile";
    for ours in [
        &[][..],
        &[("origin", "https://voxmill.example")],
        &[("origin", "HTTPS://Voxmill.example")],
        &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        send(Method::PATCH, path, ours).await.expect(200);
    }
    for theirs in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "http://voxmill.example")],
        &[("origin", "https://voxmill.example.evil.example")],
        &[("origin", "https://voxmill.example:444")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let refused = send(Method::PATCH, path, theirs).await.expect(403).json().await;
        assert_eq!(refused, json!({"detail": "You do not have permission to perform this action."}));
        send(Method::POST, "/api/auth/logout", theirs).await.expect(403);
        send(Method::DELETE, "/api/v1/auth/logout", theirs).await.error(403, "forbidden").await;
        send(Method::GET, path, theirs).await.expect(200);
    }
    let token = app.user("ann@example.com").await;
    let by_token = request(Method::PATCH, path, &token)
        .header("origin", "https://evil.example")
        .content_type("application/json");
    app.send(by_token.body("{}")).await.expect(200);
}

#[tokio::test]
async fn our_own_services_ask_whose_session_it_is() {
    let app = TestApp::new().await;
    let cookie = browser(&app).await;
    let ask = async |cookie: &str, key: &str| {
        let path = "/api/internal/validate-session";
        app.send(by_cookie(Method::POST, path, cookie).header("x-internal-key", key).finish()).await
    };
    let answer = ask(&cookie, INTERNAL_KEY).await.expect(200).json().await;
    let me = app.send(by_cookie(Method::GET, "/api/auth/me", &cookie).finish()).await.json().await;
    assert_eq!(
        answer,
        json!({
            "valid": true,
            "user_id": me["id"],
            "email": "user@example.com",
            "display_name": "John Doe",
            "preferences": {
                "preferred_voice": "alloy",
                "preferred_language": "en",
                "favorite_topics": [],
                "system_prompt_override": "",
            },
        })
    );
    for wrong in ["", "sessionid=nonsense"] {
        let answer = ask(wrong, INTERNAL_KEY).await.expect(401).json().await;
        assert_eq!(answer, json!({"valid": false}));
    }
    for key in ["", "another key"] {
        assert_eq!(ask(&cookie, key).await.expect(404).json().await, json!({"detail": "Not found."}));
    }
}
