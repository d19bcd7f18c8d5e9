//! A picture with a new voice.

use super::output_name;
use crate::context::{Artifact, JobContext, JobError, Outcome};
use pipeline::failure::Failure;
use pipeline::media::{SubtitleTrack, VideoGeneration, Watch};
use pipeline::parameters::GenerateVideo;
use pipeline::subtitles;
use serde_json::json;
use storage::files::FileKind;
use uuid::Uuid;

pub(crate) async fn run(context: &JobContext, parameters: &GenerateVideo) -> Result<Outcome, JobError> {
    context.enter("fetching");
    let (original, video) = context.fetch(parameters.original_video_id, "video").await?;
    let (_, voice) = context.fetch(parameters.cloned_audio_id, "voice").await?;
    let subtitles = match parameters.subtitles_file_id {
        None => None,
        Some(id) => Some(subtitle_track(context, id, parameters.burn_subtitles).await?),
    };
    let container = parameters.output_format;
    let output = context.directory.join(format!("video.{}", container.extension()));
    let generation = VideoGeneration {
        video,
        voice,
        output: output.clone(),
        container,
        quality: parameters.quality,
        extend: parameters.extend,
        keep_background: parameters.keep_background,
        subtitles,
    };
    let on_progress = &mut |fraction| context.report("rendering", fraction as f32);
    let watch = Watch { cancel: &context.stop, on_progress };
    let (report, media) = context.services.media.generate_video(generation, watch).await?;
    Ok(Outcome {
        result: json!({
            "duration_seconds": report.duration_seconds,
            "output_format": container.as_str(),
            "quality": parameters.quality.as_str(),
            "video_copied": report.video_copied,
            "width": report.width,
            "height": report.height,
        }),
        artifacts: vec![Artifact {
            path: output,
            filename: output_name(&original.filename, "dubbed", container.extension()),
            content_type: container.content_type(),
            kind: FileKind::Video,
            media: Some(media),
        }],
    })
}

/// The user's SubRip or WebVTT, read and written anew, so that nothing but cues reaches the player's parser.
async fn subtitle_track(context: &JobContext, id: Uuid, burn: bool) -> Result<SubtitleTrack, JobError> {
    let (_, path) = context.fetch(id, "subtitles").await?;
    let text = tokio::fs::read_to_string(&path).await?;
    let cues = subtitles::parse(&text)
        .map_err(|invalid| JobError::Failed(Failure::permanent("subtitles_unreadable", invalid.issue)))?;
    let path = context.write("subtitles.srt", &subtitles::to_srt(&cues)).await?;
    Ok(SubtitleTrack { path, burn, language: None })
}
