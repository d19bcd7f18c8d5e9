//! Tracks of one shape, put together and cut into the pieces that an encoder takes.

use ffmpeg_next::{filter, frame};

use super::audio_track::{Shape, feed, fetch, sound_graph};
use super::error::MediaError;

pub(super) struct Mixer {
    graph: filter::Graph,
}

/// The inputs of a [`Mixer`]: the sound that it is about, and what lies under it.
pub(super) const MAIN: &str = "main";
pub(super) const BACKGROUND: &str = "background";

impl Mixer {
    /// The main sound as it is.
    pub(super) fn plain(shape: Shape, frame_size: u32) -> Result<Self, MediaError> {
        Self::new(shape, frame_size, &[MAIN], &format!("[{MAIN}]anull[out]"))
    }

    /// The voice for `seconds`: silence follows one that is shorter.
    pub(super) fn lasting(shape: Shape, frame_size: u32, seconds: f64) -> Result<Self, MediaError> {
        Self::new(shape, frame_size, &[MAIN], &format!("[{MAIN}]{}[out]", lasting(seconds)))
    }

    /// The voice for `seconds`, and the background under it, turned down while the voice speaks.
    pub(super) fn over_background(shape: Shape, frame_size: u32, seconds: f64) -> Result<Self, MediaError> {
        let lasting = lasting(seconds);
        // Threshold -34 dB, ratio 8: a voice at -20 dB turns the background down by about 12 dB.
        let filters = format!(
            "[{MAIN}]{lasting},asplit=2[speech][key];[{BACKGROUND}]{lasting}[bed];\
             [bed][key]sidechaincompress=threshold=0.02:ratio=8:attack=20:release=400[ducked];\
             [ducked][speech]amix=inputs=2:duration=first:normalize=0,\
             alimiter=limit=0.95:level=0,{}[out]",
            shape.filter()
        );
        Self::new(shape, frame_size, &[MAIN, BACKGROUND], &filters)
    }

    fn new(shape: Shape, frame_size: u32, inputs: &[&str], filters: &str) -> Result<Self, MediaError> {
        let inputs: Vec<_> = inputs.iter().map(|name| (*name, shape.source_arguments())).collect();
        let mut graph = sound_graph(&inputs, filters)?;
        if frame_size > 0
            && let Some(mut output) = graph.get("out")
        {
            output.sink().set_frame_size(frame_size);
        }
        Ok(Self { graph })
    }

    pub(super) fn push(&mut self, input: &str, frame: &frame::Audio) -> Result<(), MediaError> {
        feed(&mut self.graph, input, Some(frame))
    }

    pub(super) fn close(&mut self, input: &str) -> Result<(), MediaError> {
        feed(&mut self.graph, input, None)
    }

    /// False when an input must be fed or closed first, or all is out.
    pub(super) fn pull(&mut self, frame: &mut frame::Audio) -> Result<bool, MediaError> {
        fetch(&mut self.graph, frame)
    }
}

fn lasting(seconds: f64) -> String {
    let microseconds = (seconds * 1e6).round();
    format!("apad=whole_dur={microseconds}us,atrim=end={microseconds}us")
}
