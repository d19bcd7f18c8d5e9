//! What is said in a recording, as segments and words with their times.

use super::output_name;
use crate::context::{Artifact, JobContext, JobError, Outcome};
use crate::engines::choice::transcriber;
use crate::engines::{LISTENING_RATE, TranscribeRequest};
use models::audio::{SampleReader, WavReader};
use models::{TranscribeOptions, Transcription};
use pipeline::media::{PcmDecoding, Watch};
use pipeline::parameters::{Transcribe, TranscribeTask, TranscriptFormat};
use pipeline::transcript::{Segment, Transcript, Word};
use serde_json::json;
use std::path::{Path, PathBuf};
use storage::files::FileKind;

pub(crate) async fn run(context: &JobContext, parameters: &Transcribe) -> Result<Outcome, JobError> {
    context.enter("fetching");
    let (recording, input) = context.fetch(parameters.audio_file_id, "input").await?;
    let decoding = Decoding { input: &input, name: "sound.wav", sample_rate: LISTENING_RATE };
    let sound =
        decode(context, decoding, &mut |fraction| context.report("decoding", fraction as f32)).await?;
    context.enter("transcribing");
    let options = TranscribeOptions {
        language: parameters.source_language.clone(),
        translate: parameters.task == TranscribeTask::Translate,
        word_timestamps: parameters.word_timestamps,
        prompt: parameters.prompt.clone(),
    };
    let engines = &context.services.engines;
    let model = transcriber(&engines.stock(), parameters)?;
    let duration_seconds = WavReader::open(&sound)?.duration();
    let request = TranscribeRequest { model: model.clone(), sound, options };
    let heard = engines.transcribe(request, context.observer("transcribing"), &context.stop).await?;
    let transcript = publishable(heard, &model, parameters.task, duration_seconds);
    let mut artifacts = vec![];
    for format in &parameters.output_formats {
        artifacts.push(rendering(context, &transcript, *format, &recording.filename).await?);
    }
    Ok(Outcome {
        result: json!({
            "model": transcript.model,
            "task": transcript.task,
            "language": transcript.language,
            "duration_seconds": transcript.duration_seconds,
            "text": transcript.text,
            "segments": transcript.segments.len(),
        }),
        artifacts,
    })
}

pub(crate) struct Decoding<'a> {
    pub(crate) input: &'a Path,
    /// Of the output, in the job's directory.
    pub(crate) name: &'a str,
    pub(crate) sample_rate: u32,
}

/// The sound of the input as the engines read it.
pub(crate) async fn decode(
    context: &JobContext,
    wanted: Decoding<'_>,
    on_progress: &mut (dyn FnMut(f64) + Send),
) -> Result<PathBuf, JobError> {
    let Decoding { input, name, sample_rate } = wanted;
    let output = context.directory.join(name);
    let decoding = PcmDecoding { input: input.to_owned(), output: output.clone(), sample_rate };
    context.services.media.decode_pcm(decoding, Watch { cancel: &context.stop, on_progress }).await?;
    Ok(output)
}

fn publishable(heard: Transcription, model: &str, task: TranscribeTask, duration_seconds: f64) -> Transcript {
    let segments: Vec<Segment> = heard
        .segments
        .into_iter()
        .enumerate()
        .map(|(id, segment)| Segment {
            id,
            start: segment.start,
            end: segment.end,
            text: segment.text.trim().to_owned(),
            confidence: segment.confidence,
            words: segment
                .words
                .into_iter()
                .map(|word| Word {
                    start: word.start,
                    end: word.end,
                    word: word.text.trim().to_owned(),
                    confidence: word.confidence,
                })
                .collect(),
        })
        .collect();
    Transcript {
        language: heard.language,
        task: task.as_str().to_owned(),
        model: model.to_owned(),
        duration_seconds,
        text: segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join(" "),
        segments,
    }
}

async fn rendering(
    context: &JobContext,
    transcript: &Transcript,
    format: TranscriptFormat,
    recording: &str,
) -> Result<Artifact, JobError> {
    let (extension, content_type, content) = match format {
        TranscriptFormat::Json => {
            let json = serde_json::to_string_pretty(transcript).map_err(anyhow::Error::from)?;
            ("json", "application/json", json)
        }
        TranscriptFormat::Text => ("txt", "text/plain; charset=utf-8", transcript.plain_text()),
        TranscriptFormat::Srt => ("srt", "application/x-subrip", transcript.srt()),
        TranscriptFormat::Vtt => ("vtt", "text/vtt; charset=utf-8", transcript.vtt()),
    };
    Ok(Artifact {
        path: context.write(&format!("transcript.{extension}"), &content).await?,
        filename: output_name(recording, "transcript", extension),
        content_type,
        kind: FileKind::Text,
        media: None,
    })
}
