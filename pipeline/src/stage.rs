//! The stages that a job of each kind goes through, and how they add up to its progress.

use crate::parameters::JobKind;

/// One stage and its share of the whole, as measured on typical inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub name: &'static str,
    pub share: f32,
}

const EXTRACT_AUDIO: &[Stage] =
    &[Stage { name: "fetching", share: 0.05 }, Stage { name: "extracting", share: 0.9 }, STORING];
const TRANSCRIBE: &[Stage] = &[
    Stage { name: "fetching", share: 0.02 },
    Stage { name: "decoding", share: 0.05 },
    Stage { name: "transcribing", share: 0.88 },
    STORING,
];
const CLONE_VOICE: &[Stage] = &[
    Stage { name: "fetching", share: 0.02 },
    Stage { name: "decoding", share: 0.03 },
    Stage { name: "learning", share: 0.3 },
    Stage { name: "speaking", share: 0.45 },
    Stage { name: "checking", share: 0.15 },
    STORING,
];
const GENERATE_VIDEO: &[Stage] =
    &[Stage { name: "fetching", share: 0.05 }, Stage { name: "rendering", share: 0.9 }, STORING];
const DELIVER_WEBHOOK: &[Stage] = &[Stage { name: "delivering", share: 0.95 }, STORING];
const ANSWER_SPEECH: &[Stage] =
    &[Stage { name: "fetching", share: 0.1 }, Stage { name: "answering", share: 0.85 }, STORING];
const STORING: Stage = Stage { name: "storing", share: 0.05 };

/// The stages of `kind`, in order; their shares add up to 1.
pub fn stages(kind: JobKind) -> &'static [Stage] {
    match kind {
        JobKind::ExtractAudio => EXTRACT_AUDIO,
        JobKind::Transcribe => TRANSCRIBE,
        JobKind::CloneVoice => CLONE_VOICE,
        JobKind::GenerateVideo => GENERATE_VIDEO,
        JobKind::DeliverWebhook => DELIVER_WEBHOOK,
        JobKind::AnswerSpeech => ANSWER_SPEECH,
    }
}

/// The progress of a job, 0 to 100, that has done `fraction` of the stage `name`.
/// 100 is left to the completed job. An unknown stage counts as not begun.
pub fn progress(kind: JobKind, name: &str, fraction: f32) -> f32 {
    let mut done = 0.0;
    for stage in stages(kind) {
        if stage.name == name {
            return ((done + stage.share * fraction.clamp(0.0, 1.0)) * 100.0).min(99.9);
        }
        done += stage.share;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::{progress, stages};
    use crate::parameters::JobKind;

    #[test]
    fn shares_add_up_and_progress_never_falls() {
        for kind in JobKind::ALL {
            let total: f32 = stages(kind).iter().map(|stage| stage.share).sum();
            assert!((total - 1.0).abs() < 1e-6, "{kind:?} adds up to {total}");
            let mut last = -1.0;
            for stage in stages(kind) {
                for fraction in [0.0, 0.5, 1.0] {
                    let now = progress(kind, stage.name, fraction);
                    assert!(now >= last);
                    last = now;
                }
            }
            assert!(last < 100.0);
        }
    }
}
