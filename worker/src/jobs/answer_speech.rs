//! What a request asks of the engines, and waits for: seconds of speech, or a voice to listen to.

use super::transcribe::{Decoding, decode};
use crate::context::{JobContext, JobError, Outcome, gone};
use crate::engines::choice::builtin_voice;
use crate::engines::{LISTENING_RATE, REFERENCE_RATE, SpeechRequest, Voice, Waits};
use models::track::Script;
use pipeline::failure::Failure;
use pipeline::questions::{PATIENCE, QuestionedVoice, SpeechAnswer, SpeechQuestion};
use std::path::PathBuf;
use storage::jobs::Job;
use storage::objects::ObjectKey;
use uuid::Uuid;

pub(crate) async fn run(context: &JobContext, question: &SpeechQuestion) -> Result<Outcome, JobError> {
    if is_late(&context.job) {
        let failure = Failure::permanent("nobody_waits", "Nobody waits for this answer any more.");
        return Err(JobError::Failed(failure));
    }
    context.enter("fetching");
    let answer = match question {
        SpeechQuestion::SpeechSeconds { sample } => {
            let sound = sound(context, sample, LISTENING_RATE).await?;
            let seconds = context.services.engines.speech_seconds(sound, &context.stop).await?;
            SpeechAnswer::SpeechSeconds(seconds)
        }
        SpeechQuestion::Preview { voice, text, language } => {
            let voice = match voice {
                QuestionedVoice::Builtin(id) => builtin(context, *id)?,
                QuestionedVoice::Sample(sample) => {
                    Voice::Reference(sound(context, sample, REFERENCE_RATE).await?)
                }
            };
            let output = context.directory.join("preview.wav");
            let request = SpeechRequest {
                waits: Waits::Request,
                voice,
                language: language.clone(),
                script: Script::Text(text.clone()),
                speed: 1.0,
                output: output.clone(),
            };
            let observers = (context.observer("answering"), context.observer("answering"));
            context.services.engines.speak(request, observers, &context.stop).await?;
            // Not an artifact: those become files of the owner.
            let key = context.lease.object_key("preview.wav")?;
            context.services.storage.objects.publish_file(&output, &key).await?;
            SpeechAnswer::Preview { object: key.to_string() }
        }
    };
    Ok(Outcome { artifacts: vec![], result: serde_json::to_value(answer).map_err(anyhow::Error::from)? })
}

/// Whether it was begun too late for an answer, by the database's clock.
fn is_late(job: &Job) -> bool {
    let waited = job.started_at.and_then(|started| (started - job.created_at).to_std().ok());
    waited.is_some_and(|waited| waited >= PATIENCE)
}

/// The sound of a recording.
async fn sound(context: &JobContext, sample: &str, sample_rate: u32) -> Result<PathBuf, JobError> {
    let path = context.directory.join("sample");
    let fetched = context.services.storage.objects.fetch(&ObjectKey::parse(sample)?, &path).await;
    fetched.map_err(gone("The recording is gone."))?;
    context.enter("answering");
    decode(context, Decoding { input: &path, name: "sample.wav", sample_rate }, &mut |_| {}).await
}

fn builtin(context: &JobContext, id: Uuid) -> Result<Voice, JobError> {
    context.enter("answering");
    let model = builtin_voice(&context.services.engines.stock(), id);
    // Others may have it: whoever asked has seen one of them.
    let absent = || Failure::transient("model_unavailable", "The worker has not the model of this voice.");
    model.map(Voice::Builtin).ok_or_else(|| JobError::Failed(absent()))
}
