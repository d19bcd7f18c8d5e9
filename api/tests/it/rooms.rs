use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, TestApp};

/// The routes of the document's tables, in the order in which a meeting goes.
#[tokio::test]
async fn the_documents_own_requests_work() {
    let (app, ann) = TestApp::with_user().await;
    let bob = app.user("bob@example.com").await;
    let room = data(app.post("/api/v1/rooms", &ann, &json!({"name": "Standup"})).await.expect(201)).await;
    for field in ["id", "uniqueCode", "ownerId", "createdAt", "updatedAt"] {
        assert!(room[field].is_string(), "{room}");
    }
    assert_eq!((&room["name"], &room["isPrivate"]), (&json!("Standup"), &json!(false)));
    assert_eq!(data(app.get("/api/v1/rooms", &ann).await.expect(200)).await, json!([room]));
    let path = format!("/api/v1/rooms/{}", text(&room, "id"));
    let renamed = data(app.put(&path, &ann, &json!({"name": "Daily"})).await.expect(200)).await;
    assert_eq!((&renamed["name"], &renamed["uniqueCode"]), (&json!("Daily"), &room["uniqueCode"]));

    let at = json!({"scheduledStartTime": "2099-01-31T12:00:00Z"});
    let planned = data(app.post(&format!("{path}/sessions/schedule"), &ann, &at).await.expect(201)).await;
    assert_eq!((&planned["status"], &planned["roomId"]), (&json!("SCHEDULED"), &room["id"]));
    assert_eq!(planned["scheduledStartTime"], "2099-01-31T12:00:00.000000Z");
    assert!(planned["actualStartTime"].is_null() && planned["actualEndTime"].is_null());
    let cancelled = act(&app, &ann, &planned, "cancel").await.expect(200);
    assert_eq!(data(cancelled).await["status"], "CANCELLED");

    let live = data(app.post_bytes(&format!("{path}/sessions/start"), &ann, "").await.expect(201)).await;
    assert_eq!((&live["status"], live["actualStartTime"].is_string()), (&json!("LIVE"), true));
    let joined = data(act(&app, &bob, &live, "participants").await.expect(201)).await;
    assert_eq!(
        (&joined["sessionId"], &joined["role"], &joined["leaveTime"], &joined["isSharingScreen"]),
        (&live["id"], &json!("PARTICIPANT"), &Value::Null, &json!(false))
    );
    assert!(joined["userId"].is_string() && joined["joinTime"].is_string());
    let sharing = data(act(&app, &bob, &live, "screenshare/start").await.expect(200)).await;
    assert_eq!((&sharing["userId"], &sharing["isSharingScreen"]), (&joined["userId"], &json!(true)));
    let stopped = data(act(&app, &bob, &live, "screenshare/stop").await.expect(200)).await;
    assert_eq!(stopped["isSharingScreen"], false);
    let chat = format!("/api/v1/sessions/{}/chat", text(&live, "id"));
    let said = data(app.post(&chat, &bob, &json!({"message": "Hello"})).await.expect(201)).await;
    assert_eq!(
        (&said["message"], &said["userId"], &said["sessionId"]),
        (&json!("Hello"), &joined["userId"], &live["id"])
    );
    assert!(said["id"].is_string() && said["createdAt"].is_string());
    let history = app.get(&chat, &bob).await.expect(200).json().await;
    assert_eq!(history, json!({"data": [said], "nextCursor": null}));
    let me = format!("/api/v1/sessions/{}/participants/me", text(&live, "id"));
    app.delete(&me, &bob).await.expect(204);
    let ended = data(act(&app, &ann, &live, "end").await.expect(200)).await;
    assert_eq!((&ended["status"], ended["actualEndTime"].is_string()), (&json!("ENDED"), true));
    let sessions = data(app.get(&format!("{path}/sessions"), &ann).await.expect(200)).await;
    let statuses: Vec<_> = sessions.as_array().unwrap().iter().map(|session| &session["status"]).collect();
    assert_eq!(statuses, ["ENDED", "CANCELLED"]);
    app.delete(&path, &ann).await.expect(204);
    app.get(&path, &ann).await.error(404, "not_found").await;
}

#[tokio::test]
async fn a_private_room_opens_to_its_passcode() {
    let (app, ann) = TestApp::with_user().await;
    let bob = app.user("bob@example.com").await;
    let body = json!({"name": "Board", "isPrivate": true, "passcode": "open sesame"});
    let answer = app.post("/api/v1/rooms", &ann, &body).await.expect(201).bytes().await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.contains("sesame") && !answer.to_lowercase().contains("passcode"), "{answer}");
    let room = serde_json::from_str::<Value>(&answer).unwrap()["data"].clone();
    assert_eq!(room["isPrivate"], true);
    let live = start(&app, &ann, &room).await;
    let path = format!("/api/v1/sessions/{}/participants", text(&live, "id"));
    let join = async |body: Value| app.post(&path, &bob, &body).await;
    app.post_bytes(&path, &bob, "").await.error(403, "forbidden").await;
    for wrong in [json!({}), json!({"passcode": ""}), json!({"passcode": "open"}), json!({"passcode": null})]
    {
        join(wrong).await.error(403, "forbidden").await;
    }
    join(json!({"passcode": 5})).await.invalid("passcode").await;
    assert_eq!(data(join(json!({"passcode": "open sesame"})).await.expect(201)).await["role"], "PARTICIPANT");
    let owner = data(app.post_bytes(&path, &ann, "").await.expect(201)).await;
    assert_eq!(owner["role"], "HOST", "the owner needs no passcode");

    let room_path = format!("/api/v1/rooms/{}", text(&room, "id"));
    let renamed = data(app.put(&room_path, &ann, &json!({"name": "Crew"})).await.expect(200)).await;
    assert_eq!(renamed["isPrivate"], true, "a new name opens no door");
    app.put(&room_path, &ann, &json!({"passcode": "changed"})).await.expect(200);
    join(json!({"passcode": "open sesame"})).await.error(403, "forbidden").await;
    let opened = data(app.put(&room_path, &ann, &json!({"isPrivate": false})).await.expect(200)).await;
    assert_eq!(opened["isPrivate"], false);
    join(json!({})).await.expect(201);
}

#[tokio::test]
async fn rooms_are_refused_by_field() {
    let (app, token) = TestApp::with_user().await;
    let create = async |body: Value| app.post("/api/v1/rooms", &token, &body).await;
    assert_eq!(create(json!({})).await.invalid("name").await, "is required");
    create(json!({"name": " "})).await.invalid("name").await;
    create(json!({"name": "x".repeat(256)})).await.invalid("name").await;
    create(json!({"name": "a", "isPrivate": "yes"})).await.invalid("isPrivate").await;
    let issue = create(json!({"name": "a", "isPrivate": true})).await.invalid("passcode").await;
    assert_eq!(issue, "is required for a private room");
    create(json!({"name": "a", "isPrivate": true, "passcode": ""})).await.invalid("passcode").await;
    create(json!({"name": "a", "isPrivate": false, "passcode": "b"})).await.invalid("passcode").await;
    let room = data(create(json!({"name": "a", "passcode": "b"})).await.expect(201)).await;
    assert_eq!(room["isPrivate"], true, "a passcode is for a private room");

    let open = data(create(json!({"name": "é😀"})).await.expect(201)).await;
    let path = format!("/api/v1/rooms/{}", text(&open, "id"));
    app.put(&path, &token, &json!({"isPrivate": true})).await.invalid("passcode").await;
    app.put(&path, &token, &json!({"name": ""})).await.invalid("name").await;
    let past = Utc::now() - TimeDelta::seconds(1);
    let schedule = async |body: Value| app.post(&format!("{path}/sessions/schedule"), &token, &body).await;
    schedule(json!({"scheduledStartTime": past})).await.invalid("scheduledStartTime").await;
    schedule(json!({"scheduledStartTime": "tomorrow"})).await.invalid("scheduledStartTime").await;
    schedule(json!({})).await.invalid("scheduledStartTime").await;
    let start = async |body: Value| app.post(&format!("{path}/sessions/start"), &token, &body).await;
    start(json!({"sessionId": "x"})).await.invalid("sessionId").await;
    let missing = start(json!({"sessionId": Uuid::new_v4()})).await.error(404, "not_found").await;
    assert_eq!(missing["details"]["field"], "sessionId");
    app.get("/api/v1/rooms?limit=0", &token).await.invalid("limit").await;
    app.get("/api/v1/rooms?cursor=x", &token).await.invalid("cursor").await;
    app.get("/api/v1/rooms/x", &token).await.error(404, "not_found").await;
}

#[tokio::test]
async fn a_code_finds_the_room_and_what_is_live_in_it() {
    let (app, ann) = TestApp::with_user().await;
    let bob = app.user("bob@example.com").await;
    let room = room(&app, &ann).await;
    let code = text(&room, "uniqueCode");
    let find = async |code: &str| app.get(&format!("/api/v1/rooms/by-code/{code}"), &bob).await;
    let found = data(find(code).await.expect(200)).await;
    assert_eq!((&found["id"], &found["liveSession"]), (&room["id"], &Value::Null));
    let live = start(&app, &ann, &room).await;
    let found = data(find(&code.to_lowercase().replace('-', "")).await.expect(200)).await;
    assert_eq!((&found["name"], &found["liveSession"]), (&room["name"], &live));
    find("ZZZ-ZZZ-ZZZ").await.error(404, "not_found").await;
    find("%F0%9F%98%80").await.error(404, "not_found").await;
}

#[tokio::test]
async fn strangers_find_nothing_and_participants_are_no_hosts() {
    let (app, ann) = TestApp::with_user().await;
    let bob = app.user("bob@example.com").await;
    let room = room(&app, &ann).await;
    let live = start(&app, &ann, &room).await;
    let at = json!({"scheduledStartTime": "2099-01-31T12:00:00Z"});
    let room_path = format!("/api/v1/rooms/{}", text(&room, "id"));
    let session_path = format!("/api/v1/sessions/{}", text(&live, "id"));
    let owner = data(app.get(&format!("{session_path}/participants"), &ann).await.expect(200)).await;
    let owner = owner[0]["userId"].as_str().unwrap().to_owned();
    let hosts_own = async |token: &str| {
        [
            app.put(&room_path, token, &json!({"name": "Mine"})).await,
            app.delete(&room_path, token).await,
            app.post_bytes(&format!("{room_path}/sessions/start"), token, "").await,
            app.post(&format!("{room_path}/sessions/schedule"), token, &at).await,
            app.post_bytes(&format!("{session_path}/cancel"), token, "").await,
            app.post_bytes(&format!("{session_path}/end"), token, "").await,
            app.patch(&format!("{session_path}/participants/{owner}"), token, &json!({"role": "HOST"})).await,
        ]
    };
    for answer in hosts_own(&bob).await {
        answer.error(404, "not_found").await;
    }
    for answer in [
        app.get(&room_path, &bob).await,
        app.get(&format!("{room_path}/sessions"), &bob).await,
        app.get(&format!("{session_path}/participants"), &bob).await,
        app.delete(&format!("{session_path}/participants/me"), &bob).await,
        app.get(&format!("{session_path}/chat"), &bob).await,
        app.post(&format!("{session_path}/chat"), &bob, &json!({"message": "hi"})).await,
        app.post_bytes(&format!("{session_path}/screenshare/start"), &bob, "").await,
        app.post_bytes(&format!("{session_path}/screenshare/stop"), &bob, "").await,
    ] {
        answer.error(404, "not_found").await;
    }
    act(&app, &bob, &live, "participants").await.expect(201);
    for answer in hosts_own(&bob).await {
        answer.error(403, "forbidden").await;
    }
    app.get(&room_path, &bob).await.expect(200);
    app.get(&format!("{room_path}/sessions"), &bob).await.expect(200);
    assert_eq!(data(app.get("/api/v1/rooms", &bob).await.expect(200)).await, json!([]));
    act(&app, &bob, &json!({"id": Uuid::new_v4()}), "participants").await.error(404, "not_found").await;
}

#[tokio::test]
async fn two_hosts_clicks_at_once_leave_one_outcome() {
    let (app, ann) = TestApp::with_user().await;
    let bob = app.user("bob@example.com").await;
    let room = room(&app, &ann).await;
    let path = format!("/api/v1/rooms/{}/sessions/start", text(&room, "id"));
    let mut started = join_all((0..4).map(|_| app.post_bytes(&path, &ann, ""))).await;
    started.sort_by_key(|answer| answer.status);
    assert_eq!(statuses(&started), [201, 409, 409, 409]);
    let live = data(started.remove(0)).await;
    let joined = data(act(&app, &bob, &live, "participants").await.expect(201)).await;
    let role = format!("/api/v1/sessions/{}/participants/{}", text(&live, "id"), text(&joined, "userId"));
    app.patch(&role, &ann, &json!({"role": "KING"})).await.invalid("role").await;
    let host = data(app.patch(&role, &ann, &json!({"role": "HOST"})).await.expect(200)).await;
    assert_eq!(host["role"], "HOST");

    let mut shares = join_all([&ann, &bob].map(|token| act(&app, token, &live, "screenshare/start"))).await;
    shares.sort_by_key(|answer| answer.status);
    assert_eq!(statuses(&shares), [200, 409]);
    let mut ends = join_all([&ann, &bob, &ann, &bob].map(|token| act(&app, token, &live, "end"))).await;
    ends.sort_by_key(|answer| answer.status);
    assert_eq!(statuses(&ends), [200, 409, 409, 409]);
    let gone =
        data(app.get(&format!("/api/v1/sessions/{}/participants", text(&live, "id")), &bob).await).await;
    assert!(
        gone.as_array()
            .unwrap()
            .iter()
            .all(|one| one["leaveTime"].is_string() && one["isSharingScreen"] == false)
    );
    for action in ["participants", "end", "cancel", "screenshare/start", "screenshare/stop"] {
        act(&app, &bob, &live, action).await.error(409, "conflict").await;
    }
}

#[tokio::test]
async fn a_scheduled_session_is_started_or_cancelled_once() {
    let (app, ann) = TestApp::with_user().await;
    let room = room(&app, &ann).await;
    let path = format!("/api/v1/rooms/{}/sessions", text(&room, "id"));
    let at = json!({"scheduledStartTime": "2099-01-31T12:00:00+02:00"});
    let planned = data(app.post(&format!("{path}/schedule"), &ann, &at).await.expect(201)).await;
    assert_eq!(planned["scheduledStartTime"], "2099-01-31T10:00:00.000000Z");
    act(&app, &ann, &planned, "end").await.error(409, "conflict").await;
    act(&app, &ann, &planned, "participants").await.error(409, "conflict").await;
    let body = json!({"sessionId": planned["id"]});
    let live = data(app.post(&format!("{path}/start"), &ann, &body).await.expect(201)).await;
    assert_eq!((&live["id"], &live["status"]), (&planned["id"], &json!("LIVE")));
    app.post(&format!("{path}/start"), &ann, &body).await.error(409, "conflict").await;
    act(&app, &ann, &planned, "cancel").await.error(409, "conflict").await;
}

#[tokio::test]
async fn chat_is_read_a_page_at_a_time() {
    let (app, ann) = TestApp::with_user().await;
    let room = room(&app, &ann).await;
    let live = start(&app, &ann, &room).await;
    let chat = format!("/api/v1/sessions/{}/chat", text(&live, "id"));
    for message in ["one", "two", "three"] {
        app.post(&chat, &ann, &json!({"message": message})).await.expect(201);
    }
    let page = app.get(&format!("{chat}?limit=2"), &ann).await.expect(200).json().await;
    assert_eq!((&page["data"][0]["message"], &page["data"][1]["message"]), (&json!("three"), &json!("two")));
    let before = text(&page, "nextCursor");
    let rest = app.get(&format!("{chat}?limit=2&before={before}"), &ann).await.expect(200).json().await;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["data"][0]["message"]), (1, &json!("one")));
    assert!(rest["nextCursor"].is_null());
    app.get(&format!("{chat}?before=x"), &ann).await.invalid("before").await;
    app.get(&format!("{chat}?limit=1001"), &ann).await.invalid("limit").await;
    for wrong in [json!(""), json!(" \n"), json!("x".repeat(4001)), json!(1), json!("a\u{0}")] {
        app.post(&chat, &ann, &json!({"message": wrong})).await.invalid("message").await;
    }
    app.post(&chat, &ann, &json!({})).await.invalid("message").await;
}

async fn room(app: &TestApp, token: &str) -> Value {
    data(app.post("/api/v1/rooms", token, &json!({"name": "A room"})).await.expect(201)).await
}

async fn start(app: &TestApp, token: &str, room: &Value) -> Value {
    let path = format!("/api/v1/rooms/{}/sessions/start", text(room, "id"));
    data(app.post_bytes(&path, token, "").await.expect(201)).await
}

async fn act(app: &TestApp, token: &str, session: &Value, action: &str) -> Answer {
    app.post_bytes(&format!("/api/v1/sessions/{}/{action}", text(session, "id")), token, "").await
}

async fn data(answer: Answer) -> Value {
    answer.json().await["data"].take()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status.as_u16()).collect()
}
