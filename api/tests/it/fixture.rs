//! Somebody who has uploaded what jobs of every kind take.

use serde_json::Value;

use crate::client::TestApp;
use crate::doubles::{mp4, wav};

pub(crate) struct Fixture {
    pub(crate) app: TestApp,
    pub(crate) token: String,
    /// The id of a file with picture and sound.
    pub(crate) video: Value,
    /// The id of a file with sound.
    pub(crate) sound: Value,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let (app, token) = TestApp::with_user().await;
        let video = app.file(&token, "a.mp4", &mp4(100)).await["id"].clone();
        let sound = app.file(&token, "a.wav", &wav(100)).await["id"].clone();
        Self { app, token, video, sound }
    }
}
