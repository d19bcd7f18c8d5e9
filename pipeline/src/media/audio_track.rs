//! One stream of sound, decoded to one shape without gaps from the container's time zero on: silence where it
//! starts late or has holes, the start cut where it begins early.

use ffmpeg_next::format::Sample;
use ffmpeg_next::{ChannelLayout, Error, Packet, Rational, Rescale, decoder, ffi, filter, frame};

use super::error::{Context, MediaError, MediaErrorCode};
use super::source::{Source, Track};

/// How sound is laid out between decoder and encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    /// In hertz.
    pub(super) rate: u32,
    /// 1 or 2.
    pub(super) channels: u16,
    pub(super) format: Sample,
}

impl Shape {
    pub(super) fn layout(self) -> ChannelLayout {
        ChannelLayout::default(i32::from(self.channels))
    }

    /// The arguments of a buffer that feeds this shape into a graph.
    pub(super) fn source_arguments(self) -> String {
        source_arguments(self.rate, self.format, self.layout())
    }

    /// A filter that makes whatever it is fed this shape.
    pub(super) fn filter(self) -> String {
        let Self { rate, format, .. } = self;
        let layout = self.layout().bits();
        format!("aformat=sample_fmts={}:sample_rates={rate}:channel_layouts={layout:#x}", format.name())
    }
}

/// What becomes of decoded sound.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&mut frame::Audio) -> Result<(), MediaError>;

pub(super) struct AudioTrack {
    track: Track,
    decoder: decoder::Audio,
    shape: Shape,
    converter: Option<Converter>,
    /// Samples emitted, at the rate of `shape`.
    emitted: i64,
    /// End of the latest decoded frame, in seconds from the container's start.
    reached: f64,
    damaged_packets: u64,
    decoded_frames: u64,
}

impl AudioTrack {
    pub(super) fn open(source: &Source, track: Track, shape: Shape) -> Result<Self, MediaError> {
        let decoder = source.decoder(&track, 1)?.audio().context("open the sound")?;
        Ok(Self {
            track,
            decoder,
            shape,
            converter: None,
            emitted: 0,
            reached: 0.0,
            damaged_packets: 0,
            decoded_frames: 0,
        })
    }

    /// The stream that this decodes.
    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    pub(super) fn reached(&self) -> f64 {
        self.reached
    }

    pub(super) fn decode(&mut self, packet: &Packet, emit: Emit<'_>) -> Result<(), MediaError> {
        match self.decoder.send_packet(packet) {
            Ok(()) => {}
            // A damaged packet is a click, and its time becomes silence. Whether enough is left is judged at the end.
            Err(Error::InvalidData) => self.damaged_packets += 1,
            Err(error) => return Err(error).context("decode sound"),
        }
        self.receive(emit)
    }

    /// Emits what decoder and converter still hold.
    pub(super) fn finish(&mut self, emit: Emit<'_>) -> Result<(), MediaError> {
        // A decoder that refuses to be drained holds nothing.
        if self.decoder.send_eof().is_ok() {
            self.receive(&mut *emit)?;
        }
        if let Some(mut converter) = self.converter.take() {
            converter.close()?;
            self.drain(&mut converter, emit)?;
        }
        if self.decoded_frames == 0 || self.damaged_packets > self.decoded_frames {
            return Err(MediaError::truncated("most of the sound is damaged"));
        }
        Ok(())
    }

    fn receive(&mut self, emit: Emit<'_>) -> Result<(), MediaError> {
        let mut frame = frame::Audio::empty();
        loop {
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    self.decoded_frames += 1;
                    self.convert(&mut frame, &mut *emit)?;
                }
                Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => return Ok(()),
                Err(Error::InvalidData) => self.damaged_packets += 1,
                Err(error) => return Err(error).context("decode sound"),
            }
        }
    }

    fn convert(&mut self, frame: &mut frame::Audio, emit: Emit<'_>) -> Result<(), MediaError> {
        let fed = Fed::of(frame)?;
        let mut converter = match self.converter.take() {
            Some(converter) if converter.fed == fed => converter,
            // The stream changed its rate or channels on the way, as broadcasts do.
            Some(mut old) => {
                old.close()?;
                self.drain(&mut old, &mut *emit)?;
                self.new_converter(fed)?
            }
            None => self.new_converter(fed)?,
        };
        let clock = Rational::new(1, fed.rate.cast_signed());
        let start = frame.timestamp().map(|time| time.rescale(self.track.time_base, clock));
        let start = start.unwrap_or(converter.next);
        self.fill_hole(&mut converter, start, &mut *emit)?;
        frame.set_pts(Some(start));
        converter.push(frame)?;
        converter.next = start + frame.samples() as i64;
        self.reached = self.reached.max(converter.next as f64 / f64::from(fed.rate));
        self.drain(&mut converter, emit)?;
        self.converter = Some(converter);
        Ok(())
    }

    fn new_converter(&self, fed: Fed) -> Result<Converter, MediaError> {
        let output_clock = Rational::new(1, self.shape.rate.cast_signed());
        let next = self.emitted.rescale(output_clock, Rational::new(1, fed.rate.cast_signed()));
        Converter::new(fed, self.shape, next)
    }

    /// Feeds silence up to `start` second by second. The resampler could fill the hole too, but all at once in memory.
    fn fill_hole(&mut self, converter: &mut Converter, start: i64, emit: Emit<'_>) -> Result<(), MediaError> {
        /// A day. A stream that jumps further has no times worth following.
        const LONGEST_HOLE: i64 = 86_400;
        let second = i64::from(converter.fed.rate);
        if start - converter.next > LONGEST_HOLE * second {
            return Err(MediaError::truncated("the times of the sound jump"));
        }
        while start - converter.next > second {
            let mut silence = silence(converter.fed, converter.fed.rate as usize)?;
            silence.set_pts(Some(converter.next));
            converter.push(&silence)?;
            converter.next += second;
            self.drain(converter, &mut *emit)?;
        }
        Ok(())
    }

    fn drain(&mut self, converter: &mut Converter, emit: Emit<'_>) -> Result<(), MediaError> {
        let mut frame = frame::Audio::empty();
        while converter.pull(&mut frame)? {
            frame.set_pts(Some(self.emitted));
            self.emitted += frame.samples() as i64;
            emit(&mut frame)?;
        }
        Ok(())
    }
}

/// What a decoder gives.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fed {
    rate: u32,
    format: Sample,
    layout: ChannelLayout,
}

impl Fed {
    fn of(frame: &frame::Audio) -> Result<Self, MediaError> {
        let layout = match frame.channel_layout() {
            // Some files count their channels without saying which is which.
            unnamed if unnamed.bits() == 0 => ChannelLayout::default(i32::from(frame.channels())),
            layout => layout,
        };
        if frame.rate() == 0 || frame.rate() > 768_000 || layout.bits() == 0 {
            return Err(MediaError::unsupported("sound of an unknown shape"));
        }
        Ok(Self { rate: frame.rate(), format: frame.format(), layout })
    }
}

/// Resamples, mixes down and lines up with the clock.
struct Converter {
    graph: filter::Graph,
    fed: Fed,
    /// Where the next frame should start, in samples of what is fed.
    next: i64,
}

impl Converter {
    fn new(fed: Fed, shape: Shape, next: i64) -> Result<Self, MediaError> {
        let arguments = source_arguments(fed.rate, fed.format, fed.layout);
        let filters = format!("aresample=async=1:first_pts={next},{}", shape.filter());
        let graph = sound_graph(&[("in", arguments)], &filters)?;
        Ok(Self { graph, fed, next })
    }

    fn push(&mut self, frame: &frame::Audio) -> Result<(), MediaError> {
        feed(&mut self.graph, "in", Some(frame))
    }

    fn close(&mut self) -> Result<(), MediaError> {
        feed(&mut self.graph, "in", None)
    }

    fn pull(&mut self, frame: &mut frame::Audio) -> Result<bool, MediaError> {
        fetch(&mut self.graph, frame)
    }
}

/// A graph with the named inputs, of the given buffer arguments, and one output named `out`.
pub(super) fn sound_graph(inputs: &[(&str, String)], filters: &str) -> Result<filter::Graph, MediaError> {
    let mut graph = filter::Graph::new();
    for (name, arguments) in inputs {
        graph.add(&find("abuffer")?, name, arguments).context("make a sound input")?;
    }
    graph.add(&find("abuffersink")?, "out", "").context("make the sound output")?;
    let mut parser = filter::graph::Parser::new(&mut graph);
    for (name, _) in inputs {
        parser = parser.output(name, 0).context("link a sound input")?;
    }
    parser.input("out", 0).and_then(|parser| parser.parse(filters)).context("link the sound filters")?;
    graph.validate().context("set up the sound filters")?;
    Ok(graph)
}

/// Hands `frame`, or the end, to the input called `name`.
pub(super) fn feed(
    graph: &mut filter::Graph,
    name: &str,
    frame: Option<&ffmpeg_next::Frame>,
) -> Result<(), MediaError> {
    let mut input = graph.get(name).ok_or_else(|| MediaError::failed(format!("no filter input {name}")))?;
    match frame {
        Some(frame) => input.source().add(frame).context("filter a frame"),
        None => input.source().flush().context("end a filter input"),
    }
}

/// The next frame of the graph's output. False when it needs more input first, or has ended.
pub(super) fn fetch(graph: &mut filter::Graph, frame: &mut ffmpeg_next::Frame) -> Result<bool, MediaError> {
    let mut output = graph.get("out").ok_or_else(|| MediaError::failed("no filter output"))?;
    match output.sink().frame(frame) {
        Ok(()) => Ok(true),
        Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => Ok(false),
        Err(error) => Err(error).context("filter frames"),
    }
}

pub(super) fn find(name: &str) -> Result<filter::Filter, MediaError> {
    filter::find(name).ok_or_else(|| MediaError::failed(format!("this FFmpeg has no filter {name}")))
}

fn source_arguments(rate: u32, format: Sample, layout: ChannelLayout) -> String {
    let (format, layout) = (format.name(), layout.bits());
    format!("time_base=1/{rate}:sample_rate={rate}:sample_fmt={format}:channel_layout={layout:#x}")
}

#[expect(unsafe_code, reason = "the wrapper cannot silence a frame")]
fn silence(fed: Fed, samples: usize) -> Result<frame::Audio, MediaError> {
    let mut frame = frame::Audio::new(fed.format, samples, fed.layout);
    frame.set_rate(fed.rate);
    // SAFETY: the frame was allocated with this many samples, channels and this format, checked below.
    unsafe {
        if frame.is_empty() {
            return Err(MediaError::new(MediaErrorCode::MediaTooLarge, "no memory for silence"));
        }
        let raw = frame.as_mut_ptr();
        (*raw).channels = fed.layout.channels();
        ffi::av_samples_set_silence(
            (*raw).extended_data,
            0,
            (*raw).nb_samples,
            (*raw).channels,
            fed.format.into(),
        );
    }
    Ok(frame)
}
