//! What a request asks of engines that are in another process: a small job of an internal kind, whose answer somebody
//! waits for.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// How long somebody waits for the answer, from the moment the question was put.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Objects are named by their keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SpeechQuestion {
    /// How many seconds of speech a recording holds.
    SpeechSeconds { sample: String },
    /// How a voice speaks a text.
    Preview {
        voice: QuestionedVoice,
        text: String,
        /// ISO 639-1 code.
        language: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuestionedVoice {
    Builtin(Uuid),
    /// The speaker of this recording.
    Sample(String),
}

/// The result of the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpeechAnswer {
    SpeechSeconds(f64),
    /// A whole WAV file.
    Preview {
        object: String,
    },
}

#[cfg(test)]
mod tests {
    use super::{QuestionedVoice, SpeechAnswer, SpeechQuestion};
    use crate::parameters::Parameters;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn questions_and_answers_survive_the_row() {
        let seconds = SpeechQuestion::SpeechSeconds { sample: "files/0/a".into() };
        let row = json!({ "kind": "answer-speech", "question": "speech-seconds", "sample": "files/0/a" });
        let voices =
            [QuestionedVoice::Builtin(Uuid::nil()), QuestionedVoice::Sample("voices/0/sample".into())];
        let preview = |voice| SpeechQuestion::Preview { voice, text: "Hello".into(), language: "en".into() };
        let question = Parameters::AnswerSpeech(seconds);
        assert_eq!(serde_json::to_value(&question).unwrap(), row);
        for question in
            voices.map(|voice| Parameters::AnswerSpeech(preview(voice))).into_iter().chain([question])
        {
            let mut json = serde_json::to_value(&question).unwrap();
            assert_eq!(serde_json::from_value::<Parameters>(json.clone()).unwrap(), question);
            json["of"] = "tomorrow".into();
            assert!(serde_json::from_value::<Parameters>(json).is_err());
        }
        let answer = SpeechAnswer::Preview { object: "jobs/0/1/preview.wav".into() };
        for (answer, row) in [
            (SpeechAnswer::SpeechSeconds(4.25), json!({ "speech-seconds": 4.25 })),
            (answer, json!({ "preview": { "object": "jobs/0/1/preview.wav" } })),
        ] {
            assert_eq!(serde_json::to_value(&answer).unwrap(), row);
            assert_eq!(serde_json::from_value::<SpeechAnswer>(row).unwrap(), answer);
        }
    }
}
