//! One file a kind of job: fetch, work, and name what came out.

mod answer_speech;
mod clone_voice;
mod deliver_webhook;
mod extract_audio;
mod generate_video;
mod transcribe;

use crate::context::{JobContext, JobError, Outcome};
use pipeline::parameters::Parameters;

pub(crate) async fn run(context: &JobContext) -> Result<Outcome, JobError> {
    match &context.parameters {
        Parameters::ExtractAudio(parameters) => extract_audio::run(context, parameters).await,
        Parameters::Transcribe(parameters) => transcribe::run(context, parameters).await,
        Parameters::CloneVoice(parameters) => clone_voice::run(context, parameters).await,
        Parameters::GenerateVideo(parameters) => generate_video::run(context, parameters).await,
        Parameters::DeliverWebhook(parameters) => deliver_webhook::run(context, parameters).await,
        Parameters::AnswerSpeech(question) => answer_speech::run(context, question).await,
    }
}

/// The name of an output: the stem of the input's, and what was done to it.
fn output_name(input: &str, what: &str, extension: &str) -> String {
    let stem = input.rsplit_once('.').map_or(input, |(stem, _)| stem);
    if what.is_empty() { format!("{stem}.{extension}") } else { format!("{stem}.{what}.{extension}") }
}
