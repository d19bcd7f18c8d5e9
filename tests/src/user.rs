//! A user of the HTTP API, who knows no more of the server than its address.

use crate::server::eventually;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Long enough for every job of the tests on two busy cores.
pub const JOB: Duration = Duration::from_secs(300);

/// Of every user of the tests.
pub const PASSWORD: &str = "correct horse battery";

#[derive(Clone)]
pub struct User {
    http: reqwest::Client,
    pub url: String,
    pub email: String,
    pub password: String,
    pub token: String,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl User {
    pub async fn register(url: &str) -> Self {
        let mut user = Self {
            http: reqwest::Client::new(),
            url: url.to_owned(),
            email: format!("{}@example.com", uuid::Uuid::new_v4().simple()),
            password: PASSWORD.to_owned(),
            token: String::new(),
        };
        let account =
            json!({ "email": user.email, "password": user.password, "fullName": "Ada Łukasiewicz" });
        user.post("/api/v1/auth/register", &account).await.expect(StatusCode::CREATED);
        let tokens = user.log_in().await;
        user.token = tokens["access_token"].as_str().unwrap().to_owned();
        user
    }

    /// The token pair of a new login.
    pub async fn log_in(&self) -> Value {
        let login = json!({ "email": self.email, "password": self.password });
        self.post("/api/v1/auth/login", &login).await.expect(StatusCode::OK)
    }

    /// The same user with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The same user at a server that was started again elsewhere.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub async fn upload(&self, path: &Path) -> Answer {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        self.upload_bytes(&name, std::fs::read(path).unwrap()).await
    }

    pub async fn upload_bytes(&self, name: &str, bytes: Vec<u8>) -> Answer {
        let form = Form::new().part("file", Part::bytes(bytes).file_name(name.to_owned()));
        let request = self.request(Method::POST, "/api/v1/files/upload").multipart(form);
        answer(request.send().await.unwrap()).await
    }

    /// Uploads and gives the file's id.
    pub async fn uploaded(&self, path: &Path) -> String {
        let file = self.upload(path).await.expect(StatusCode::CREATED);
        file["file_id"].as_str().unwrap().to_owned()
    }

    /// Starts a job and gives its id.
    pub async fn start(&self, kind: &str, body: &Value) -> String {
        let job = self.post(&format!("/api/v1/process/{kind}"), body).await.expect(StatusCode::ACCEPTED);
        job["job_id"].as_str().unwrap().to_owned()
    }

    pub async fn status(&self, job: &str) -> Value {
        self.get(&format!("/api/v1/process/status/{job}")).await.expect(StatusCode::OK)
    }

    /// The status object once the job has ended.
    pub async fn ended(&self, job: &str) -> Value {
        eventually(&format!("the end of job {job}"), JOB, async || {
            let status = self.status(job).await;
            let over = !matches!(status["status"].as_str(), Some("queued" | "processing"));
            over.then_some(status)
        })
        .await
    }

    /// The status object of a job that must complete.
    pub async fn completed(&self, kind: &str, body: &Value) -> Value {
        let status = self.ended(&self.start(kind, body).await).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        status
    }

    /// Waits until the job is in `stage`.
    pub async fn in_stage(&self, job: &str, stage: &str) {
        eventually(&format!("stage {stage} of job {job}"), JOB, async || {
            let status = self.status(job).await;
            assert!(
                matches!(status["status"].as_str(), Some("queued" | "processing")),
                "ended before stage {stage}: {status:#}"
            );
            (status["stage"] == stage).then_some(())
        })
        .await;
    }

    /// The bytes at a signed URL, which needs no token.
    pub async fn download(&self, url: &str) -> Vec<u8> {
        let response = reqwest::get(url).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.bytes().await.unwrap().to_vec()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }
}

pub async fn answer(response: Response) -> Answer {
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
    Answer { status, body }
}
