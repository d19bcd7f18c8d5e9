//! The sound of a video as a file of its own.

use super::output_name;
use crate::context::{Artifact, JobContext, JobError, Outcome};
use pipeline::media::{AudioExtraction, Watch};
use pipeline::parameters::ExtractAudio;
use serde_json::json;
use storage::files::FileKind;

pub(crate) async fn run(context: &JobContext, parameters: &ExtractAudio) -> Result<Outcome, JobError> {
    context.enter("fetching");
    let (video, input) = context.fetch(parameters.video_file_id, "input").await?;
    let format = parameters.audio_format;
    let output = context.directory.join(format!("audio.{}", format.extension()));
    let extraction = AudioExtraction {
        input,
        output: output.clone(),
        format,
        sample_rate: parameters.sample_rate,
        channels: parameters.channels,
    };
    let on_progress = &mut |fraction| context.report("extracting", fraction as f32);
    let watch = Watch { cancel: &context.stop, on_progress };
    let (report, media) = context.services.media.extract_audio(extraction, watch).await?;
    Ok(Outcome {
        result: json!({
            "duration_seconds": report.duration_seconds,
            "audio_format": format.as_str(),
            "sample_rate": report.sample_rate,
            "channels": report.channels,
        }),
        artifacts: vec![Artifact {
            path: output,
            filename: output_name(&video.filename, "", format.extension()),
            content_type: format.content_type(),
            kind: FileKind::Audio,
            media: Some(media),
        }],
    })
}
