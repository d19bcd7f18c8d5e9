use futures_util::future::join_all;
use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{TestApp, request};

/// The requests of the document, and what it shows as their answers.
#[tokio::test]
async fn the_documents_own_requests_work() {
    let (app, token) = TestApp::with_user().await;
    assert_eq!(app.get("/api/v1/projects/", &token).await.expect(200).json().await, json!([]));
    let body = json!({"name": "My Project", "description": "Voice sessions for testing"});
    let project = app.post("/api/v1/projects/", &token, &body).await.expect(201).json().await;
    assert_eq!(
        (&project["name"], &project["description"], &project["owner"]),
        (&json!("My Project"), &json!("Voice sessions for testing"), &json!(1))
    );
    assert!(project["id"].is_i64() && is_time(&project["created_at"]), "{project}");
    let id = project["id"].as_i64().unwrap();
    let path = format!("/api/v1/projects/{id}/");
    assert_eq!(app.get("/api/v1/projects/", &token).await.expect(200).json().await, json!([project]));
    assert_eq!(app.get(&path, &token).await.expect(200).json().await, project);

    let renamed =
        app.patch(&path, &token, &json!({"name": "Podcast Season 1"})).await.expect(200).json().await;
    assert_eq!(
        (&renamed["name"], &renamed["description"], &renamed["created_at"]),
        (&json!("Podcast Season 1"), &project["description"], &project["created_at"])
    );
    let replaced = app.put(&path, &token, &json!({"name": "Podcast"})).await.expect(200).json().await;
    assert_eq!((&replaced["name"], &replaced["description"]), (&json!("Podcast"), &Value::Null));

    let body = json!({"project_id": id});
    let started = app.post("/api/v1/sessions/start/", &token, &body).await.expect(201).json().await;
    assert_eq!((&started["project"], &started["status"]), (&json!(id), &json!("started")));
    assert!(started["id"].is_i64() && is_time(&started["started_at"]), "{started}");
    let body = json!({"session_id": started["id"]});
    let finished = app.post("/api/v1/sessions/finish/", &token, &body).await.expect(200).json().await;
    for field in ["id", "project", "started_at"] {
        assert_eq!(finished[field], started[field]);
    }
    assert_eq!((&finished["status"], &finished["duration_seconds"]), (&json!("finished"), &json!(0)));
    assert!(is_time(&finished["finished_at"]), "{finished}");
    let list = app.get(&format!("/api/v1/sessions/?project_id={id}"), &token).await.expect(200).json().await;
    assert_eq!(list, json!([finished]));

    let gone = app.delete(&path, &token).await.expect(204);
    assert!(gone.bytes().await.is_empty());
    app.get(&path, &token).await.error(404, "not_found").await;
}

#[tokio::test]
async fn errors_are_the_documents() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let project = project(&app, &token).await;
    let session = start(&app, &token, &project).await;
    let path = format!("/api/v1/projects/{project}/");
    let detail = async |answer: crate::client::Answer, status, code| {
        answer.error(status, code).await["detail"].clone()
    };

    let missing = detail(app.get(&path, "").await, 401, "unauthorized").await;
    assert_eq!(missing, "Authentication credentials were not provided.");
    assert_eq!(detail(app.get(&path, "nonsense").await, 401, "unauthorized").await, "Invalid token.");
    let text = json!({"name": "Mine now"});
    for answer in [
        app.get(&path, &stranger).await,
        app.put(&path, &stranger, &text).await,
        app.patch(&path, &stranger, &text).await,
        app.delete(&path, &stranger).await,
        app.get(&format!("/api/v1/sessions/?project_id={project}"), &stranger).await,
        app.post("/api/v1/sessions/start/", &stranger, &json!({"project_id": project})).await,
        app.post("/api/v1/sessions/finish/", &stranger, &json!({"session_id": session["id"]})).await,
    ] {
        let detail = detail(answer, 403, "forbidden").await;
        assert_eq!(detail, "You do not have permission to perform this action.");
    }
    for answer in [
        app.get("/api/v1/projects/999/", &token).await,
        app.get("/api/v1/projects/x/", &token).await,
        app.get("/api/v1/projects/99999999999999999999/", &token).await,
        app.delete("/api/v1/projects/-1/", &token).await,
        app.get("/api/v1/sessions/?project_id=999", &token).await,
        app.post("/api/v1/sessions/start/", &token, &json!({"project_id": 999})).await,
        app.post("/api/v1/sessions/finish/", &token, &json!({"session_id": 999})).await,
    ] {
        assert_eq!(detail(answer, 404, "not_found").await, "Not found.");
    }
    let bare = app.post("/api/v1/projects/", &token, &json!({})).await;
    assert_eq!(detail(bare, 400, "validation_error").await, "Bad Request");
}

#[tokio::test]
async fn bodies_and_queries_are_refused_by_field() {
    let (app, token) = TestApp::with_user().await;
    let project = project(&app, &token).await;
    let path = format!("/api/v1/projects/{project}");
    let long = "é".repeat(256);
    for (name, issue) in [
        (json!(null), "must not be null"),
        (json!(""), "must not be empty"),
        (json!(" \n"), "must not be blank"),
        (json!(5), "must be a string"),
        (json!(long), "must be at most 255 characters"),
    ] {
        let text = json!({"name": name});
        assert_eq!(app.post("/api/v1/projects", &token, &text).await.invalid("name").await, issue);
        assert_eq!(app.put(&path, &token, &text).await.invalid("name").await, issue);
        if !name.is_null() {
            assert_eq!(app.patch(&path, &token, &text).await.invalid("name").await, issue);
        }
    }
    assert_eq!(app.put(&path, &token, &json!({})).await.invalid("name").await, "is required");
    app.post("/api/v1/projects", &token, &json!({"name": "a", "description": 1}))
        .await
        .invalid("description")
        .await;
    let unchanged = app.patch(&path, &token, &json!({"owner": 7, "id": 9})).await.expect(200).json().await;
    assert_eq!((&unchanged["id"], &unchanged["owner"]), (&json!(project), &json!(1)));

    for (operation, field) in [("start", "project_id"), ("finish", "session_id")] {
        let path = format!("/api/v1/sessions/{operation}");
        assert_eq!(app.post(&path, &token, &json!({})).await.invalid(field).await, "is required");
        for wrong in [json!("5"), json!(1.5), json!(null), json!(true)] {
            app.post(&path, &token, &json!({field: wrong})).await.invalid(field).await;
        }
        let huge = format!("{{\"{field}\": 18446744073709551615}}");
        app.post_bytes(&path, &token, huge).await.error(400, "validation_error").await;
    }
    assert_eq!(app.get("/api/v1/sessions", &token).await.invalid("project_id").await, "is required");
    for wrong in ["x", "", "1.5", "99999999999999999999"] {
        app.get(&format!("/api/v1/sessions?project_id={wrong}"), &token).await.invalid("project_id").await;
    }
    app.get("/api/v1/projects?limit=0", &token).await.invalid("limit").await;
    app.get("/api/v1/projects?before=x", &token).await.invalid("before").await;
}

#[tokio::test]
async fn lists_are_ones_own_and_come_in_parts() {
    let (app, token) = TestApp::with_user().await;
    let (first, second) = (project(&app, &token).await, project(&app, &token).await);
    let stranger = app.user("bob@example.com").await;
    let theirs =
        app.post("/api/v1/projects", &stranger, &json!({"name": "b"})).await.expect(201).json().await;
    assert_eq!(theirs["owner"], 2);
    let ids = async |path: &str| {
        let list = app.get(path, &token).await.expect(200).json().await;
        list.as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/api/v1/projects").await, [second, first]);
    assert_eq!(ids("/api/v1/projects?limit=1").await, [second]);
    assert_eq!(ids(&format!("/api/v1/projects?before={second}")).await, [first]);
    let one = start(&app, &token, &first).await["id"].as_i64().unwrap();
    start(&app, &token, &second).await;
    let two = start(&app, &token, &first).await["id"].as_i64().unwrap();
    assert_eq!(ids(&format!("/api/v1/sessions?project_id={first}")).await, [two, one]);
    assert_eq!(ids(&format!("/api/v1/sessions?project_id={first}&before={two}")).await, [one]);
}

#[tokio::test]
async fn a_session_is_finished_once_however_many_try() {
    let (app, token) = TestApp::with_user().await;
    let project = project(&app, &token).await;
    let session = start(&app, &token, &project).await;
    assert!(session["finished_at"].is_null() && session["duration_seconds"].is_null());
    let body = json!({"session_id": session["id"]});
    let answers = join_all((0..5).map(|_| app.post("/api/v1/sessions/finish", &token, &body))).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400]);
    let issue = app.post("/api/v1/sessions/finish", &token, &body).await.invalid("session_id").await;
    assert_eq!(issue, "names a session that is finished already");
}

#[tokio::test]
async fn a_projects_files_are_kept_when_it_is_deleted() {
    let (app, token) = TestApp::with_user().await;
    let parts: [(&str, &[u8]); 2] =
        [("name=\"project_name\"", b"My Project"), ("name=\"file\"; filename=\"a.txt\"", b"hello")];
    let file = app.upload(&token, &parts).await.expect(201).json().await;
    let path = format!("/api/v1/projects/{}", file["project_id"]);
    let project = app.get(&path, &token).await.expect(200).json().await;
    assert_eq!((&project["name"], &project["description"]), (&json!("My Project"), &Value::Null));
    let session = start(&app, &token, &file["project_id"].as_i64().unwrap()).await;
    app.delete(&path, &token).await.expect(204);
    app.delete(&path, &token).await.error(404, "not_found").await;
    app.post("/api/v1/sessions/finish", &token, &json!({"session_id": session["id"]}))
        .await
        .error(404, "not_found")
        .await;
    let file = app.get(&format!("/api/v1/files/{}", file["id"].as_str().unwrap()), &token).await;
    let file = file.expect(200).json().await;
    assert!(file["project_id"].is_null() && file["project_name"].is_null(), "{file}");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (app, token) = TestApp::with_user().await;
    let answer = app.send(request(Method::GET, "/api/v1/sessions/start/", &token).finish()).await;
    assert_eq!(answer.header("allow"), "POST");
    answer.error(405, "method_not_allowed").await;
    let answer = app.send(request(Method::POST, "/api/v1/projects/1", &token).finish()).await;
    assert_eq!(answer.header("allow"), "DELETE, GET, HEAD, PATCH, PUT");
}

async fn project(app: &TestApp, token: &str) -> i64 {
    let project = app.post("/api/v1/projects", token, &json!({"name": "A project"})).await.expect(201);
    project.json().await["id"].as_i64().unwrap()
}

async fn start(app: &TestApp, token: &str, project: &i64) -> Value {
    app.post("/api/v1/sessions/start", token, &json!({"project_id": project})).await.expect(201).json().await
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|time| time.ends_with('Z'))
}
