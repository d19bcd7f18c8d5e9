//! Call logs, their recordings and analytics, over the document's own requests and beside them.

use chrono::{TimeDelta, Utc};
use futures_util::stream;
use poem::Body;
use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, PUBLIC_URL, TestApp, request};
use crate::doubles::{mp4, wav};

const CSV: &str = "text/csv";
const JSON_LINES: &str = "application/x-ndjson";

/// The requests of the document, and the fields that it shows in their answers.
#[tokio::test]
async fn the_documents_own_requests_work() {
    let (app, token) = TestApp::with_user().await;
    let (agent, campaign) = calling(&app, &token).await;
    let file = app.file(&token, "call.wav", &wav(960)).await;
    let line = json!({
        "campaign_id": campaign, "phone_number": "+1234567890", "status": "completed", "duration_seconds": 120,
        "sentiment": "positive", "emotions": ["satisfied", "relieved"], "key_phrases": ["billing", "resolution"],
        "transcript": "User: Hello... Agent: Hi...", "summary": "Customer called about billing issue...",
        "recording_file_id": file["id"], "created_at": "2024-01-29T10:30:00Z",
    });
    let report = import(&app, &token, JSON_LINES, line.to_string()).await;
    assert_eq!(report, json!({"imported": 1, "duplicates": 0, "failed": 0, "errors": []}));

    let filters = format!(
        "?campaign_id={campaign}&status=completed&phone_number=%2B1234567890&start_date=2024-01-01\
         &end_date=2024-01-31&skip=0&limit=50"
    );
    let list = app.get(&format!("/call-logs{filters}"), &token).await.expect(200).json().await;
    assert_eq!((&list["total"], &list["skip"], &list["limit"]), (&json!(1), &json!(0), &json!(50)));
    let item = &list["items"][0];
    for field in
        ["campaign_id", "phone_number", "status", "duration_seconds", "sentiment", "emotions", "transcript"]
    {
        assert_eq!(item[field], line[field], "{field}");
    }
    assert_eq!(
        (&item["created_at"], &item["agent_id"]),
        (&json!("2024-01-29T10:30:00.000000Z"), &json!(agent))
    );

    let id = item["id"].as_str().unwrap();
    let call = app.get(&format!("/call-logs/{id}"), &token).await.expect(200).json().await;
    for field in
        ["id", "campaign_id", "phone_number", "status", "duration_seconds", "created_at", "sentiment"]
    {
        assert_eq!(call[field], item[field], "{field}");
    }
    for field in ["transcript", "summary", "emotions", "key_phrases"] {
        assert_eq!(call[field], line[field], "{field}");
    }
    // Two minutes at 0.25.
    assert_eq!((&call["cost"], &call["currency"]), (&json!(0.5), &json!("USD")));
    let sound = app.get(call["recording_url"].as_str().unwrap(), "").await.expect(200);
    assert_eq!(sound.bytes().await, wav(960));

    let recording = app.get(&format!("/call-recordings/{id}"), &token).await.expect(200).json().await;
    assert_eq!(
        (
            &recording["call_id"],
            &recording["format"],
            &recording["size_bytes"],
            &recording["duration_seconds"]
        ),
        (&json!(id), &json!("wav"), &json!(960), &json!(2))
    );
    assert_eq!(recording["transcript"], line["transcript"]);
    assert_eq!(
        recording["metadata"],
        json!({"agent_id": agent, "campaign_id": campaign, "phone_number": "+1234567890"})
    );
    assert!(recording["download_url"].as_str().unwrap().starts_with(PUBLIC_URL));
    let download = app.get(&format!("/call-recordings/{id}/download"), &token).await.expect(200);
    assert_eq!(download.header("content-type"), "audio/wav");
    assert_eq!(download.bytes().await, wav(960));

    let figures = format!("/analytics/calls?agent_id={agent}&campaign_id={campaign}");
    assert_eq!(
        app.get(&figures, &token).await.expect(200).json().await,
        json!({"total_calls": 1, "completed_calls": 1, "failed_calls": 0, "average_duration": 120,
            "success_rate": 100.0, "cost_per_call": 0.5, "currency": "USD"})
    );
    let last_month = app.get(&format!("{figures}&days=30"), &token).await.expect(200).json().await;
    assert_eq!(last_month["total_calls"], 0);
    let week = app.get(&format!("/analytics/sentiment?agent_id={agent}&days=7"), &token).await.expect(200);
    assert_eq!(
        week.json().await,
        json!({"positive": 0, "neutral": 0, "negative": 0, "positive_percentage": 0.0,
            "neutral_percentage": 0.0, "negative_percentage": 0.0})
    );
    let phrases =
        app.get(&format!("/analytics/top-phrases?agent_id={agent}&limit=20"), &token).await.expect(200);
    let phrase = |phrase: &str| json!({"phrase": phrase, "count": 1, "frequency": 100.0});
    assert_eq!(phrases.json().await, json!([phrase("billing"), phrase("resolution")]));
}

#[tokio::test]
async fn a_table_is_imported_line_by_line() {
    let (app, token) = with_room().await;
    let stranger = app.user("bob@example.com").await;
    let (agent, _) = calling(&app, &token).await;
    let (of_stranger, _) = calling(&app, &stranger).await;
    let video = app.file(&token, "a.mp4", &mp4(100)).await["id"].as_str().unwrap().to_owned();
    let (long, longer) = ("x".repeat(300_000), "x".repeat(10_000_000));
    let lines = [
        "\u{feff}phone_number,status,agent_id,duration_seconds,cost,sentiment,recording_file_id,created_at,transcript,more",
        &format!(
            "+1234567890,completed,{agent},60,0.123456,positive,,2026-01-31T12:00:00+02:00,\"A \"\"b\"\",\nc\",x"
        ),
        "+1234567890,no_answer,,,,,,,,",
        "1234567890,completed,,,,,,,,",
        "+1234567890,ringing,,,,,,,,",
        &format!("+1234567890,failed,{of_stranger},,,,,,,"),
        "+1234567890,failed,nonsense,,,,,,,",
        "+1234567890,failed,,-1,,,,,,",
        "+1234567890,failed,,1e3,,,,,,",
        "+1234567890,failed,,99999999999999999999,,,,,,",
        "+1234567890,failed,,,-0.5,,,,,",
        "+1234567890,failed,,,,glad,,,,",
        &format!("+1234567890,failed,,,,,{video},,,"),
        "+1234567890,failed,,,,,,31.01.2026,,",
        "+1234567890,failed,,,,,,2999-01-01T00:00:00Z,,",
        &format!("+1234567890,failed,,,,,,,{long},"),
        "+1234567890,failed,,,,,,,a\0b,",
        &format!("+1234567890,failed,,,,,,,{longer},"),
        "+1234567890,failed",
        "+1234567890,failed,,,,,,,,",
    ];
    let report = import(&app, &token, "text/csv; charset=utf-8", lines.join("\r\n")).await;
    let found: Vec<_> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["field"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (5, "phone_number"),
            (6, "status"),
            (7, "agent_id"),
            (8, "agent_id"),
            (9, "duration_seconds"),
            (10, "duration_seconds"),
            (11, "duration_seconds"),
            (12, "cost"),
            (13, "sentiment"),
            (14, "recording_file_id"),
            (15, "created_at"),
            (16, "created_at"),
            (17, "transcript"),
            (18, "transcript"),
            (19, "line"),
            (20, "line"),
        ]
    );
    assert_eq!((&report["imported"], &report["failed"]), (&json!(3), &json!(16)));
    let first = app.get(&format!("/call-logs?agent_id={agent}"), &token).await.expect(200).json().await;
    assert_eq!((&first["total"], &first["items"][0]["cost"]), (&json!(1), &json!(0.123456)));
    assert_eq!(first["items"][0]["transcript"], "A \"b\",\nc");
    assert_eq!(first["items"][0]["created_at"], "2026-01-31T10:00:00.000000Z");
    assert_eq!(app.get("/call-logs", &stranger).await.expect(200).json().await["total"], 0);
}

#[tokio::test]
async fn an_import_that_is_sent_again_doubles_nothing() {
    let (app, token) = TestApp::with_user().await;
    let line = |id: &str, time: &str, status: &str| format!("{id},+1234567890,{time},{status}\n");
    let table = "external_id,phone_number,created_at,status\n".to_owned()
        + &line("7", "", "queued")
        + &line("7", "", "completed")
        + &line("", "2026-01-31T12:00:00Z", "completed")
        + &line("", "2026-01-31T12:00:00Z", "completed")
        + &line("", "2026-01-31T12:00:01Z", "completed");
    let (one, other) =
        tokio::join!(import(&app, &token, CSV, table.clone()), import(&app, &token, CSV, table.clone()));
    let sum = |field: &str| one[field].as_u64().unwrap() + other[field].as_u64().unwrap();
    assert_eq!((sum("imported"), sum("duplicates"), sum("failed")), (3, 7, 0));
    let list = app.get("/call-logs?status=queued", &token).await.expect(200).json().await;
    assert_eq!((&list["total"], &list["items"][0]["external_id"]), (&json!(1), &json!("7")));
    // What nothing tells apart is another call each time.
    let bare = "{\"phone_number\": \"+1234567890\", \"status\": \"failed\"}\n".repeat(2);
    assert_eq!(import(&app, &token, JSON_LINES, bare.clone()).await["imported"], 2);
    assert_eq!(import(&app, &token, JSON_LINES, bare).await["imported"], 2);
}

#[tokio::test]
async fn only_the_first_errors_are_named_and_the_rest_is_imported() {
    let (app, token) = with_room().await;
    let good = "{\"phone_number\": \"+1234567890\", \"status\": \"completed\", \"duration_seconds\": 90}\n";
    let table = format!("{}{}", "[]\n".repeat(250), good.repeat(1_100));
    let report = import(&app, &token, JSON_LINES, table).await;
    assert_eq!((&report["imported"], &report["failed"]), (&json!(1_100), &json!(250)));
    let errors = report["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[99]["line"], &errors[99]["field"]), (100, &json!(100), &json!("line")));
    let figures = app.get("/analytics/calls?days=1", &token).await.expect(200).json().await;
    assert_eq!((&figures["total_calls"], &figures["average_duration"]), (&json!(1_100), &json!(90)));
    let page = app.get("/call-logs?skip=1090&limit=100", &token).await.expect(200).json().await;
    assert_eq!((&page["total"], page["items"].as_array().unwrap().len()), (&json!(1_100), 10));
}

#[tokio::test]
async fn an_import_that_broke_off_is_sent_again() {
    let (app, token) = with_room().await;
    let line = |number| format!("{number},+1234567890,completed\n");
    let table = "external_id,phone_number,status\n".to_owned() + &(0..600).map(line).collect::<String>();
    let end: std::io::Result<Vec<u8>> = Err(std::io::ErrorKind::ConnectionReset.into());
    let broken = Body::from_bytes_stream(stream::iter([Ok(table.clone().into_bytes()), end]));
    let sent = request(Method::POST, "/call-logs/import", &token).content_type(CSV).body(broken);
    let (_, details) = app.send(sent).await.enveloped(400, "REQUEST_001").await;
    assert!(details.as_str().unwrap().starts_with("body: broke off"), "{details}");
    assert_eq!(app.get("/call-logs", &token).await.json().await["total"], 500);
    let report = import(&app, &token, CSV, table).await;
    assert_eq!((&report["imported"], &report["duplicates"]), (&json!(100), &json!(500)));
}

#[tokio::test]
async fn what_is_no_import_is_refused() {
    let (app, token) = TestApp::with_user().await;
    let send = async |content_type: &str, body: &str| send(&app, &token, content_type, body.to_owned()).await;
    for (content_type, body, details) in [
        (CSV, "", "body: holds no calls"),
        (CSV, "phone_number,status\n", "body: holds no calls"),
        (CSV, "status\ncompleted\n", "phone_number: is missing in the first line, which names the columns"),
        (JSON_LINES, " \n\n", "body: holds no calls"),
    ] {
        let (_, found) = send(content_type, body).await.enveloped(400, "REQUEST_001").await;
        assert_eq!(found, details);
    }
    send("application/json", "{}").await.enveloped(415, "REQUEST_005").await;
    send("text/plain", "phone_number,status\n").await.enveloped(415, "REQUEST_005").await;
    // The limit is that of uploads, whether the client says how much comes or not.
    send(CSV, &format!("phone_number,status\n{}", "x".repeat(100_000)))
        .await
        .enveloped(413, "REQUEST_004")
        .await;
    let announced = request(Method::POST, "/call-logs/import", &token)
        .content_type(CSV)
        .header("content-length", "100000");
    app.send(announced.body("phone_number,status\n")).await.enveloped(413, "REQUEST_004").await;
    assert_eq!(app.get("/call-logs", &token).await.json().await["total"], 0);
}

#[tokio::test]
async fn queries_are_refused_by_field() {
    let (app, token) = TestApp::with_user().await;
    for query in [
        "call-logs?agent_id=x",
        "call-logs?campaign_id=1",
        "call-logs?status=ringing",
        "call-logs?phone_number=+1234567890",
        "call-logs?phone_number=%00",
        "call-logs?start_date=2024-02-30",
        "call-logs?end_date=2024-01-31T00:00:00Z",
        "call-logs?skip=-1",
        "call-logs?skip=1000000001",
        "call-logs?skip=99999999999999999999",
        "call-logs?limit=0",
        "call-logs?limit=101",
        "analytics/calls?days=0",
        "analytics/calls?days=x",
        "analytics/calls?campaign_id=x",
        "analytics/sentiment?days=99999999999",
        "analytics/sentiment?agent_id=x",
        "analytics/top-phrases?limit=0",
        "analytics/top-phrases?limit=1001",
    ] {
        let (_, details) = app.get(&format!("/{query}"), &token).await.enveloped(400, "REQUEST_001").await;
        let field = query.split_once('?').unwrap().1.split_once('=').unwrap().0;
        assert!(details.as_str().unwrap().starts_with(&format!("{field}: ")), "{query}: {details}");
    }
    app.get("/call-logs?skip=1000000000", &token).await.expect(200);
    app.get("/call-logs?start_date=0001-01-01&end_date=9999-12-31", &token).await.expect(200);
    app.get("/analytics/calls?days=36500", &token).await.expect(200);
}

#[tokio::test]
async fn anothers_call_is_as_good_as_none() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let file = app.file(&token, "call.wav", &wav(100)).await;
    let line = json!({"phone_number": "+1234567890", "status": "completed", "recording_file_id": file["id"],
        "sentiment": "negative", "key_phrases": ["refund"]});
    import(&app, &token, JSON_LINES, line.to_string()).await;
    let id = app.get("/call-logs", &token).await.json().await["items"][0]["id"].as_str().unwrap().to_owned();
    for id in [id.as_str(), "00000000-0000-0000-0000-000000000000", "x"] {
        for path in [
            format!("/call-logs/{id}"),
            format!("/call-logs/{id}/report"),
            format!("/call-recordings/{id}"),
            format!("/call-recordings/{id}/download"),
        ] {
            let (message, details) = app.get(&path, &stranger).await.enveloped(404, "CALL_001").await;
            assert_eq!((message, details), (json!("Call log not found"), Value::Null));
        }
        app.delete(&format!("/call-logs/{id}"), &stranger).await.enveloped(404, "CALL_001").await;
    }
    let figures = app.get("/analytics/calls", &stranger).await.expect(200).json().await;
    assert_eq!((&figures["total_calls"], &figures["success_rate"]), (&json!(0), &json!(0.0)));
    assert_eq!(app.get("/analytics/sentiment", &stranger).await.json().await["negative"], 0);
    assert_eq!(app.get("/analytics/top-phrases", &stranger).await.json().await, json!([]));

    app.delete(&format!("/call-logs/{id}"), &token).await.expect(204);
    app.get(&format!("/call-logs/{id}"), &token).await.enveloped(404, "CALL_001").await;
    assert_eq!(app.get("/analytics/calls", &token).await.json().await["total_calls"], 0);
    assert_eq!(app.get("/analytics/top-phrases", &token).await.json().await, json!([]));
    app.get(&format!("/api/v1/files/{}", file["id"].as_str().unwrap()), &token).await.expect(200);
}

#[tokio::test]
async fn a_recording_is_sent_in_parts_and_only_while_it_is_there() {
    let (app, token) = TestApp::with_user().await;
    let file = app.file(&token, "call.wav", &wav(1000)).await;
    let line = |recording: &Value| {
        json!({"phone_number": "+1234567890", "status": "completed", "recording_file_id": recording})
            .to_string()
    };
    import(&app, &token, JSON_LINES, format!("{}\n{}", line(&file["id"]), line(&Value::Null))).await;
    let list = app.get("/call-logs", &token).await.json().await;
    let ids: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    let [bare, recorded] = ids.as_slice() else { panic!("{list}") };

    let call = app.get(&format!("/call-logs/{bare}"), &token).await.expect(200).json().await;
    assert_eq!(call["recording_url"], Value::Null);
    for path in [format!("/call-recordings/{bare}"), format!("/call-recordings/{bare}/download")] {
        let (message, details) = app.get(&path, &token).await.enveloped(404, "CALL_001").await;
        assert_eq!((message, details), (json!("Call log not found"), json!("recording: the call has none")));
    }

    let recording = app.get(&format!("/call-recordings/{recorded}"), &token).await.expect(200).json().await;
    let url = recording["download_url"].as_str().unwrap();
    let with = async |name: &str, value: &str| {
        app.send(request(Method::GET, url, "").header(name, value).finish()).await
    };
    let part = with("range", "bytes=10-19").await.expect(206);
    assert_eq!(part.header("content-range"), "bytes 10-19/1000");
    assert_eq!(part.bytes().await, wav(1000)[10..20]);
    with("range", "bytes=1000-").await.enveloped(416, "REQUEST_007").await;
    let etag = app.get(url, "").await.expect(200).header("etag").to_owned();
    with("if-none-match", &etag).await.expect(304);
    app.get(&url.replace(recorded, bare), "").await.enveloped(401, "AUTH_003").await;
    app.get(url.split_once('?').unwrap().0, "").await.enveloped(401, "AUTH_003").await;

    app.delete(&format!("/api/v1/files/{}", file["id"].as_str().unwrap()), &token).await.expect(204);
    app.get(url, "").await.enveloped(404, "CALL_001").await;
    let call = app.get(&format!("/call-logs/{recorded}"), &token).await.expect(200).json().await;
    assert_eq!(call["recording_url"], Value::Null);
}

#[tokio::test]
async fn a_report_runs_nothing_that_was_said() {
    let (app, token) = TestApp::with_user().await;
    let file = app.file(&token, "call.wav", &wav(100)).await;
    let script = "<script>alert(\"1\")</script><img src=x onerror='a()'>&";
    let line = json!({"phone_number": "+1234567890", "status": "no_answer", "duration_seconds": 61, "transcript": script,
        "summary": script, "external_id": script, "emotions": [script], "key_phrases": [script],
        "recording_file_id": file["id"]});
    import(&app, &token, JSON_LINES, line.to_string()).await;
    let id = app.get("/call-logs", &token).await.json().await["items"][0]["id"].as_str().unwrap().to_owned();
    let page = app.get(&format!("/call-logs/{id}/report"), &token).await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'nonce-") && !policy.contains("script-src"),
        "{policy}"
    );
    assert_eq!(
        (page.header("x-content-type-options"), page.header("referrer-policy")),
        ("nosniff", "no-referrer")
    );
    let html = String::from_utf8(page.bytes().await).unwrap();
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("onerror='"), "{html}");
    assert_eq!(html.matches("&lt;script&gt;alert(&quot;1&quot;)").count(), 5);
    assert!(html.contains("no answer") && html.contains("1:01") && html.contains("0.254167 USD"), "{html}");
    let source =
        html.split_once("<audio").unwrap().1.split_once("src=\"").unwrap().1.split_once('"').unwrap().0;
    app.get(&source.replace("&amp;", "&"), "").await.expect(200);

    let call = app.get(&format!("/call-logs/{id}"), &token).await.json().await;
    app.get(call["report_url"].as_str().unwrap(), "").await.expect(200);
    app.get(&format!("/call-logs/{id}/report"), "").await.enveloped(401, "AUTH_003").await;
}

#[tokio::test]
async fn figures_are_shares_with_one_decimal() {
    let (app, token) = TestApp::with_user().await;
    let today = Utc::now();
    let line = |days: i64, rest: &str| {
        let time = (today - TimeDelta::days(days)).to_rfc3339();
        format!("+1234567890,{time},{rest}\n")
    };
    let table = "phone_number,created_at,status,duration_seconds,cost,sentiment,key_phrases\n".to_owned()
        + &line(0, "completed,100,0.1,positive,Billing issue;refund")
        + &line(6, "completed,101,0.2,positive,billing issue")
        + &line(7, "failed,0,0.1,negative,")
        + &line(40, "no_answer,,,,");
    assert_eq!(import(&app, &token, CSV, table).await["imported"], 4);
    let get = async |path: &str| app.get(path, &token).await.expect(200).json().await;
    assert_eq!(
        get("/analytics/calls?days=30").await,
        json!({"total_calls": 3, "completed_calls": 2, "failed_calls": 1, "average_duration": 67,
            "success_rate": 66.7, "cost_per_call": 0.133333, "currency": "USD"})
    );
    assert_eq!(get("/analytics/calls").await["total_calls"], 4);
    assert_eq!(get("/analytics/calls?days=7").await["total_calls"], 2);
    assert_eq!(get("/analytics/calls?days=1").await["total_calls"], 1);
    assert_eq!(
        get("/analytics/sentiment").await,
        json!({"positive": 2, "neutral": 0, "negative": 1, "positive_percentage": 66.7,
            "neutral_percentage": 0.0, "negative_percentage": 33.3})
    );
    let phrase = |phrase, count, frequency| json!({"phrase": phrase, "count": count, "frequency": frequency});
    let all = [phrase("billing issue", 2, 50.0), phrase("refund", 1, 25.0)];
    assert_eq!(get("/analytics/top-phrases").await, json!(all));
    assert_eq!(get("/analytics/top-phrases?limit=1").await, json!(all[..1]));
}

#[tokio::test]
async fn an_account_takes_its_calls_out() {
    let (app, token) = TestApp::with_user().await;
    let line = |number: u64| {
        format!(
            "{{\"phone_number\": \"+1234567890\", \"status\": \"completed\", \"transcript\": \"{number}\"}}\n"
        )
    };
    // More than are read at once.
    import(&app, &token, JSON_LINES, (0..25).map(line).collect()).await;
    let export = app.get("/api/v1/auth/me/export", &token).await.expect(200).json().await;
    let mut transcripts: Vec<u64> = export["call_logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["transcript"].as_str().unwrap().parse().unwrap())
        .collect();
    transcripts.sort_unstable();
    assert_eq!(transcripts, (0..25).collect::<Vec<_>>());
}

/// An app that takes large imports, and the access token of a user.
async fn with_room() -> (TestApp, String) {
    let app = TestApp::with(|config| config.max_upload_bytes = 100 << 20).await;
    let token = app.user("ann@example.com").await;
    (app, token)
}

/// An agent and a campaign of it.
async fn calling(app: &TestApp, token: &str) -> (String, String) {
    let agent = json!({
        "name": "Support Agent", "description": "Handles customer support", "llm_provider": "openai",
        "llm_model": "gpt-4", "stt_provider": "deepgram", "tts_provider": "cartesia",
        "system_prompt": "You are a helpful support agent.", "language": "en",
    });
    let agent = app.post("/agents", token, &agent).await.expect(201).json().await["id"].clone();
    let campaign = json!({
        "name": "Q2 Marketing Campaign", "agent_id": agent, "phone_numbers": ["+1234567890"],
        "start_time": "2024-04-01T00:00:00Z", "end_time": "2999-06-30T23:59:59Z", "max_concurrent_calls": 50,
    });
    let campaign = app.post("/campaigns", token, &campaign).await.expect(201).json().await["id"].clone();
    (agent.as_str().unwrap().to_owned(), campaign.as_str().unwrap().to_owned())
}

/// What the answer says became of the lines.
async fn import(app: &TestApp, token: &str, content_type: &str, lines: String) -> Value {
    send(app, token, content_type, lines).await.expect(200).json().await
}

async fn send(app: &TestApp, token: &str, content_type: &str, lines: String) -> Answer {
    app.send(request(Method::POST, "/call-logs/import", token).content_type(content_type).body(lines)).await
}
