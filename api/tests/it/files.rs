use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, MAX_UPLOAD, PUBLIC_URL, QUOTA, TestApp, request};
use crate::doubles::{mp4, wav};

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap()
}

async fn range(app: &TestApp, url: &str, header: (&str, &str)) -> Answer {
    app.send(request(Method::GET, url, "").header(header.0, header.1).finish()).await
}

#[tokio::test]
async fn an_upload_becomes_a_file() {
    let (app, token) = TestApp::with_user().await;
    let parts: [(&str, &[u8]); 3] = [
        ("name=\"more\"", b"ignored"),
        ("name=\"file\"; filename=\"talk.bin\"", &wav(5000)),
        ("name=\"project_name\"", "Grüße".as_bytes()),
    ];
    let file = app.upload(&token, &parts).await.expect(201).json().await;
    assert_eq!(file["id"], file["file_id"]);
    for (field, value) in [
        ("filename", json!("talk.bin")),
        ("content_type", json!("audio/wav")),
        ("kind", json!("audio")),
        ("size_bytes", json!(5000)),
        ("project_name", json!("Grüße")),
        ("expires_at", Value::Null),
    ] {
        assert_eq!(file[field], value, "{field}");
    }
    assert_eq!(file["sha256"].as_str().unwrap().len(), 64);
    assert!(file["project_id"].is_i64());
    assert_eq!(
        file["media"],
        json!({"duration_seconds": 2.0, "container": "wav", "video": null,
            "audio": {"codec": "pcm_s16le", "sample_rate": 16000, "channels": 2}})
    );
    assert!(text(&file, "download_url").starts_with(&format!("{PUBLIC_URL}/api/v1/files/")));

    let path = format!("/api/v1/files/{}", text(&file, "id"));
    let found = app.get(&path, &token).await.expect(200).json().await;
    assert_eq!(found["sha256"], file["sha256"]);
    let content = app.get(text(&file, "download_url"), "").await.expect(200);
    assert_eq!(content.bytes().await, wav(5000));
}

#[tokio::test]
async fn the_project_may_come_first_and_is_found_again() {
    let (app, token) = TestApp::with_user().await;
    let project: (&str, &[u8]) = ("name=\"project_name\"", b"P");
    let file: (&str, &[u8]) = ("name=\"file\"; filename=\"a.mp4\"", &mp4(100));
    let first = app.upload(&token, &[project, file]).await.expect(201).json().await;
    let second = app.upload(&token, &[file, project]).await.expect(201).json().await;
    assert_eq!(first["project_id"], second["project_id"]);
    assert_eq!(first["kind"], "video");
    let path = format!("/api/v1/files?project={}&kind=video", first["project_id"]);
    assert_eq!(app.get(&path, &token).await.json().await["items"].as_array().unwrap().len(), 2);
    assert_eq!(app.get("/api/v1/files?kind=text", &token).await.json().await["items"], json!([]));
    app.get("/api/v1/files?kind=picture", &token).await.invalid("kind").await;
    app.get("/api/v1/files?project=x", &token).await.invalid("project").await;
    app.get("/api/v1/files?limit=0", &token).await.invalid("limit").await;
    app.get("/api/v1/files?cursor=x", &token).await.invalid("cursor").await;
}

#[tokio::test]
async fn text_is_accepted_whatever_its_name_says() {
    let (app, token) = TestApp::with_user().await;
    let srt = app.file(&token, "movie.mp4", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n").await;
    assert_eq!(
        (srt["kind"].as_str(), text(&srt, "content_type")),
        (Some("text"), "application/x-subrip; charset=utf-8")
    );
    assert!(srt["media"].is_null());
}

#[tokio::test]
async fn what_is_no_media_is_refused_and_leaves_nothing() {
    let (app, token) = TestApp::with_user().await;
    for bytes in [b"\x7fELF\x02\x01\x01\0".as_slice(), b"", b"\xff\xfe\0\0", &[0; 3000]] {
        let answer = app.upload(&token, &[("name=\"file\"; filename=\"a.mp4\"", bytes)]).await;
        answer.error(415, "unsupported_media_type").await;
    }
    assert_eq!(app.get("/api/v1/usage", &token).await.json().await["files"], 0);
    assert!(app.storage.objects.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn forms_that_are_none_are_refused() {
    let (app, token) = TestApp::with_user().await;
    let file: (&str, &[u8]) = ("name=\"file\"; filename=\"a.wav\"", &wav(100));
    app.upload(&token, &[("name=\"other\"", b"x")]).await.invalid("file").await;
    app.upload(&token, &[file, file]).await.invalid("file").await;
    app.upload(&token, &[file, ("name=\"project_name\"", &[b'a'; 256])]).await.invalid("project_name").await;
    app.upload(&token, &[file, ("name=\"project_name\"", b"a\0")]).await.invalid("project_name").await;
    app.post("/api/v1/files/upload", &token, &json!({})).await.error(415, "unsupported_media_type").await;
    let send = async |body: Vec<u8>| {
        let request = request(Method::POST, "/api/v1/files/upload", &token);
        app.send(request.content_type("multipart/form-data; boundary=XX").body(body)).await
    };
    send(vec![]).await.invalid("body").await;
    send(b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nbroken off".to_vec())
        .await
        .invalid("body")
        .await;
    let endless_head = [b"--XX\r\nX-Pad: ".to_vec(), vec![b'a'; 3 << 20]].concat();
    send(endless_head).await.invalid("body").await;
    assert!(app.storage.objects.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_must_fit() {
    let (app, token) = TestApp::with_user().await;
    let upload =
        async |size: usize| app.upload(&token, &[("name=\"file\"; filename=\"a.wav\"", &wav(size))]).await;
    upload(MAX_UPLOAD as usize + 1).await.error(413, "payload_too_large").await;
    upload(MAX_UPLOAD as usize).await.expect(201);
    upload((QUOTA - MAX_UPLOAD) as usize + 1).await.error(507, "insufficient_storage").await;
    upload((QUOTA - MAX_UPLOAD) as usize).await.expect(201);
    upload(13).await.error(507, "insufficient_storage").await;
    let usage = app.get("/api/v1/usage", &token).await.expect(200).json().await;
    assert_eq!((usage["quota_bytes"].as_u64(), usage["used_bytes"].as_u64()), (Some(QUOTA), Some(QUOTA)));
    let announced = request(Method::POST, "/api/v1/files/upload", &token)
        .content_type("multipart/form-data; boundary=XX")
        .header("content-length", "9000000000")
        .body("");
    app.send(announced).await.error(413, "payload_too_large").await;
}

#[tokio::test]
async fn ranges_are_sent() {
    let (app, token) = TestApp::with_user().await;
    let file = app.file(&token, "a.wav", &wav(1000)).await;
    let url = text(&file, "download_url");

    let whole = app.get(url, "").await.expect(200);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-length"), "1000");
    assert_eq!(whole.header("content-type"), "audio/wav");
    assert!(whole.header("content-security-policy").starts_with("sandbox"));
    assert!(whole.header("content-disposition").starts_with("attachment; filename=\"a.wav\""));
    let etag = whole.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", text(&file, "sha256")));

    for (asked, sent, bytes) in [
        ("bytes=10-19", "bytes 10-19/1000", 10..20),
        ("bytes=990-5000", "bytes 990-999/1000", 990..1000),
        ("bytes=-5", "bytes 995-999/1000", 995..1000),
        ("bytes=0-", "bytes 0-999/1000", 0..1000),
    ] {
        let part = range(&app, url, ("range", asked)).await.expect(206);
        assert_eq!(part.header("content-range"), sent);
        assert_eq!(part.header("content-length"), bytes.len().to_string());
        assert_eq!(part.bytes().await, wav(1000)[bytes]);
    }
    let beyond = range(&app, url, ("range", "bytes=1000-")).await;
    assert_eq!(beyond.header("content-range"), "bytes */1000");
    beyond.error(416, "range_not_satisfiable").await;
    range(&app, url, ("range", "bytes=0-1,5-6")).await.expect(200);

    let unchanged = range(&app, url, ("if-none-match", &etag)).await.expect(304);
    assert_eq!(unchanged.header("etag"), etag);
    assert!(unchanged.bytes().await.is_empty());
    range(&app, url, ("if-none-match", "\"other\"")).await.expect(200);

    let head = app.send(request(Method::HEAD, url, "").finish()).await.expect(200);
    assert_eq!(head.header("content-length"), "1000");
    assert!(head.bytes().await.is_empty());
}

#[tokio::test]
async fn a_signature_is_for_one_file() {
    let (app, token) = TestApp::with_user().await;
    let file = app.file(&token, "a.wav", &wav(100)).await;
    let other = app.file(&token, "b.wav", &wav(200)).await;
    let url = text(&file, "download_url");
    let wrong_file = url.replace(text(&file, "id"), text(&other, "id"));
    let tampered = url.replace("expires=", "expires=9");
    let unsigned = url.split_once('?').unwrap().0.to_owned();
    let truncated = &url[..url.len() - 2];
    for wrong in [&wrong_file, &tampered, &unsigned, truncated, &format!("{unsigned}?signature=00")] {
        app.get(wrong, "").await.error(401, "unauthorized").await;
    }
    app.get(&unsigned, &token).await.expect(200);
    app.delete(&format!("/api/v1/files/{}", text(&file, "id")), &token).await.expect(204);
    app.get(url, "").await.error(404, "not_found").await;
}

#[tokio::test]
async fn anothers_file_is_as_good_as_none() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let file = app.file(&token, "a.wav", &wav(100)).await;
    let path = format!("/api/v1/files/{}", text(&file, "id"));
    let theirs = app.get(&path, &stranger).await.error(404, "not_found").await;
    let none = app.get("/api/v1/files/00000000-0000-0000-0000-000000000000", &stranger).await;
    assert_eq!(theirs, none.error(404, "not_found").await);
    app.get("/api/v1/files/nonsense", &stranger).await.error(404, "not_found").await;
    app.get(&format!("{path}/content"), &stranger).await.error(404, "not_found").await;
    app.delete(&path, &stranger).await.error(404, "not_found").await;
    assert_eq!(app.get("/api/v1/files", &stranger).await.json().await["items"], json!([]));
    app.get(&path, &token).await.expect(200);
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() {
    let (app, token) = TestApp::with_user().await;
    let mut made = vec![];
    for name in ["a.wav", "b.wav", "c.wav"] {
        made.push(text(&app.file(&token, name, &wav(100)).await, "id").to_owned());
    }
    let first = app.get("/api/v1/files?limit=2", &token).await.expect(200).json().await;
    let path = format!("/api/v1/files?limit=2&cursor={}", text(&first, "next_cursor"));
    let second = app.get(&path, &token).await.expect(200).json().await;
    assert!(second["next_cursor"].is_null());
    let pages =
        [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat();
    let listed: Vec<_> = pages.iter().map(|file| text(file, "id").to_owned()).collect();
    made.reverse();
    assert_eq!(listed, made);
}

#[tokio::test]
async fn a_name_cannot_break_out_of_its_header() {
    let (app, token) = TestApp::with_user().await;
    let file = app.file(&token, "../日本 é.wav", &wav(100)).await;
    assert_eq!(file["filename"], "日本 é.wav");
    let content = app.get(text(&file, "download_url"), "").await.expect(200);
    assert_eq!(
        content.header("content-disposition"),
        "attachment; filename=\"__ _.wav\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%20%C3%A9.wav"
    );
}
