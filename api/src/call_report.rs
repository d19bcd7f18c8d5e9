//! A call as a page for people: nothing in it runs, and whatever was said in the call is text.

use std::fmt::Write;

use chrono::Utc;
use storage::calls::{Call, CallLog};
use uuid::Uuid;

use crate::app::App;
use crate::dto::calls::download_path;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}\
    h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}th{text-align:left;padding-right:2rem;font-weight:600}\
    p{white-space:pre-wrap;overflow-wrap:anywhere}audio{width:100%}";

pub(crate) struct Page {
    pub(crate) html: String,
    /// What a browser may load for it.
    pub(crate) policy: String,
}

pub(crate) fn page(app: &App, call: &Call) -> Page {
    let nonce = hex::encode(rand::random::<[u8; 16]>());
    let recording = call.log.recording.map(|_| app.urls.sign(&download_path(call.id.into()), Utc::now()));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; media-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Call {id}</title>\n\
         <style nonce=\"{nonce}\">{STYLE}</style>\n</head>\n<body>\n<h1>Call</h1>\n",
        id = call.id,
    );
    table(&mut html, &facts(call, &app.services.config.currency));
    if let Some(url) = recording {
        let url = escaped(&url);
        let _ = writeln!(html, "<h2>Recording</h2>\n<audio controls preload=\"none\" src=\"{url}\"></audio>");
    }
    let CallLog { summary, transcript, .. } = &call.log;
    for (heading, text) in [("Summary", summary), ("Transcript", transcript)] {
        if let Some(text) = text {
            let _ = writeln!(html, "<h2>{heading}</h2>\n<p>{}</p>", escaped(text));
        }
    }
    html += "</body>\n</html>\n";
    Page { html, policy }
}

fn facts(call: &Call, currency: &str) -> Vec<(&'static str, String)> {
    let log = &call.log;
    let id = |id: Option<Uuid>| id.map(|id| id.to_string());
    let listed = |items: &[String]| Some(items.join(", ")).filter(|text| !text.is_empty());
    let (minutes, seconds) = (log.duration_seconds / 60, log.duration_seconds % 60);
    let facts = [
        ("When", Some(log.created_at.format("%Y-%m-%d %H:%M:%S UTC").to_string())),
        ("Number", log.phone_number.clone()),
        ("Status", Some(log.status.as_str().replace('_', " "))),
        ("Duration", Some(format!("{minutes}:{seconds:02}"))),
        ("Cost", Some(format!("{} {currency}", log.cost.amount()))),
        ("Sentiment", log.sentiment.map(|sentiment| sentiment.as_str().to_owned())),
        ("Emotions", listed(&log.emotions)),
        ("Key phrases", listed(&log.key_phrases)),
        ("Agent", id(log.agent.map(Uuid::from))),
        ("Campaign", id(log.campaign.map(Uuid::from))),
        ("Call", Some(call.id.to_string())),
        ("External id", log.external_id.clone()),
    ];
    facts.into_iter().filter_map(|(name, fact)| Some((name, fact?))).collect()
}

fn table(html: &mut String, facts: &[(&str, String)]) {
    *html += "<table>\n";
    for (name, fact) in facts {
        let _ = writeln!(html, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escaped(fact));
    }
    *html += "</table>\n";
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}
