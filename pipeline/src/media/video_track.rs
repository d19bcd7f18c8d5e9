//! One picture, decoded and drawn anew: scaled, turned, held at its end, with letters on it.

use std::mem;

use ffmpeg_next::{Error, Packet, Rational, Rescale, color, decoder, filter, frame, picture};

use super::audio_track::{feed, fetch, find};
use super::encoder::{Colors, Picture};
use super::error::{Context, MediaError};
use super::source::{Source, Track, seconds};
use crate::parameters::Quality;

/// What is done to each frame.
pub(super) struct Drawing {
    pub(super) quality: Quality,
    /// Quarter turns clockwise that are drawn, where the container does not tell the player.
    pub(super) quarter_turns: u8,
    /// Seconds for which the last frame is held.
    pub(super) hold: f64,
    /// True when `burn.srt` of the working directory is drawn in.
    pub(super) burn: bool,
}

/// The subtitles that are burned in, in the directory of the output: no text and no path of a user enters a filter.
pub(super) const BURNED_FILE: &str = "burn.srt";

pub(super) struct VideoTrack {
    track: Track,
    decoder: decoder::Video,
    drawing: Drawing,
    graph: Option<filter::Graph>,
    /// Latest time handed to the filters, to keep times rising, and the end of that frame.
    latest: Option<i64>,
    end: i64,
    /// Where the last frame is held, the latest one stays back here until it is known to be the last.
    last: Option<frame::Video>,
    /// Set after the last packet, where the last frame is held.
    hold_until: Option<i64>,
    /// End of the latest decoded frame, in seconds from the container's start.
    reached: f64,
}

impl VideoTrack {
    pub(super) fn open(
        source: &Source,
        track: Track,
        drawing: Drawing,
        threads: usize,
    ) -> Result<Self, MediaError> {
        let decoder = source.decoder(&track, threads)?.video().context("open the picture")?;
        Ok(Self {
            track,
            decoder,
            drawing,
            graph: None,
            latest: None,
            end: 0,
            last: None,
            hold_until: None,
            reached: 0.0,
        })
    }

    /// What an encoder is told of the result.
    pub(super) fn picture(&self) -> Picture {
        let (width, height) = self.drawn_size();
        let aspect_ratio = match self.is_turned() {
            true => self.decoder.aspect_ratio().invert(),
            false => self.decoder.aspect_ratio(),
        };
        Picture {
            width,
            height,
            time_base: self.track.time_base,
            frame_rate: self.frame_rate(),
            aspect_ratio: if aspect_ratio.numerator() > 0 { aspect_ratio } else { Rational::new(0, 1) },
            colors: Colors {
                space: self.decoder.color_space(),
                range: if self.is_full_range() { color::Range::JPEG } else { color::Range::MPEG },
                primaries: self.decoder.color_primaries(),
                transfer: self.decoder.color_transfer_characteristic(),
            },
        }
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    pub(super) fn reached(&self) -> f64 {
        self.reached
    }

    /// Seconds of `frame`, which came from [`pull`](Self::pull).
    pub(super) fn time_of(&self, frame: &frame::Video) -> f64 {
        frame.pts().map_or(0.0, |pts| seconds(pts, self.track.time_base))
    }

    /// Takes a packet. What comes of it is to be pulled before the next.
    pub(super) fn push(&mut self, packet: &Packet) -> Result<(), MediaError> {
        match self.decoder.send_packet(packet) {
            // The decoder covers up for a damaged packet. Whether enough is left is judged at the end.
            Ok(()) | Err(Error::InvalidData) => self.receive(),
            Err(error) => Err(error).context("decode the picture"),
        }
    }

    /// After the last packet.
    pub(super) fn close(&mut self) -> Result<(), MediaError> {
        if self.decoder.send_eof().is_ok() {
            self.receive()?;
        }
        let Some(graph) = &mut self.graph else {
            return Err(MediaError::truncated("no frame could be decoded"));
        };
        if self.last.is_none() {
            return feed(graph, "in", None);
        }
        let hold = (self.drawing.hold / f64::from(self.track.time_base)).round() as i64;
        self.hold_until = Some(self.end.saturating_add(hold));
        Ok(())
    }

    /// The next drawn frame. False when a packet is needed first, or all are out.
    pub(super) fn pull(&mut self, frame: &mut frame::Video) -> Result<bool, MediaError> {
        let frame_duration = self.frame_duration();
        loop {
            let Some(graph) = &mut self.graph else { return Ok(false) };
            if fetch(graph, frame)? {
                // An encoder would take the source's key frames for an order.
                frame.set_kind(picture::Type::None);
                return Ok(true);
            }
            let (Some(until), Some(last)) = (self.hold_until, &mut self.last) else { return Ok(false) };
            // A copy, since the graph takes what it is fed.
            feed(graph, "in", Some(&last.clone()))?;
            last.set_pts(Some(self.end));
            if self.end >= until {
                feed(graph, "in", None)?;
                self.last = None;
            }
            self.end = self.end.saturating_add(frame_duration);
        }
    }

    fn receive(&mut self) -> Result<(), MediaError> {
        let mut frame = frame::Video::empty();
        loop {
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => self.draw(&mut frame)?,
                Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => return Ok(()),
                Err(Error::InvalidData) => {}
                Err(error) => return Err(error).context("decode the picture"),
            }
        }
    }

    fn draw(&mut self, frame: &mut frame::Video) -> Result<(), MediaError> {
        let duration = match frame.packet().duration {
            known @ 1.. => known,
            _unknown => self.frame_duration(),
        };
        let time = frame.timestamp().unwrap_or(self.end);
        if self.latest.is_some_and(|latest| time <= latest) {
            return Ok(());
        }
        self.latest = Some(time);
        self.end = time.saturating_add(duration);
        self.reached = self.reached.max(seconds(self.end, self.track.time_base));
        frame.set_pts(Some(time));
        if self.graph.is_none() {
            self.graph = Some(self.new_graph(frame)?);
        }
        let Some(graph) = &mut self.graph else { return Ok(()) };
        if self.drawing.hold <= 0.0 {
            return feed(graph, "in", Some(frame));
        }
        let latest = mem::replace(frame, frame::Video::empty());
        match self.last.replace(latest) {
            Some(previous) => feed(graph, "in", Some(&previous)),
            None => Ok(()),
        }
    }

    fn new_graph(&self, first: &frame::Video) -> Result<filter::Graph, MediaError> {
        let (clock, rate, aspect) = (self.track.time_base, self.frame_rate(), self.decoder.aspect_ratio());
        let arguments = format!(
            "video_size={}x{}:pix_fmt={}:time_base={}/{}:frame_rate={}/{}:pixel_aspect={}/{}",
            first.width(),
            first.height(),
            pixel_format(first)?,
            clock.numerator(),
            clock.denominator(),
            rate.numerator(),
            rate.denominator(),
            aspect.numerator(),
            aspect.denominator().max(1),
        );
        let mut graph = filter::Graph::new();
        graph.add(&find("buffer")?, "in", &arguments).context("make a picture input")?;
        graph.add(&find("buffersink")?, "out", "").context("make the picture output")?;
        graph
            .output("in", 0)
            .and_then(|parser| parser.input("out", 0))
            .and_then(|parser| parser.parse(&self.filters()))
            .context("link the picture filters")?;
        graph.validate().context("set up the picture filters")?;
        Ok(graph)
    }

    fn filters(&self) -> String {
        let (width, height) = self.scaled_size();
        let range = if self.is_full_range() { "full" } else { "limited" };
        let mut filters = vec![];
        filters.push(format!("scale={width}:{height}:out_range={range},format=yuv420p"));
        filters.extend(match self.drawing.quarter_turns {
            1 => Some("transpose=clock".to_owned()),
            2 => Some("hflip,vflip".to_owned()),
            3 => Some("transpose=cclock".to_owned()),
            _upright => None,
        });
        if self.drawing.burn {
            filters.push(format!("subtitles=filename={BURNED_FILE}"));
        }
        filters.join(",")
    }

    /// Even, as 4:2:0 needs, and no more than 480 lines (of the shorter side) for low quality.
    fn scaled_size(&self) -> (u32, u32) {
        const LOW_LINES: u32 = 480;
        let (width, height) = (self.decoder.width(), self.decoder.height());
        let shorter = width.min(height);
        let factor = match self.drawing.quality {
            Quality::Low if shorter > LOW_LINES => f64::from(LOW_LINES) / f64::from(shorter),
            Quality::Low | Quality::Medium | Quality::High => 1.0,
        };
        let even = |length: u32| ((f64::from(length) * factor / 2.0).round() as u32).max(1) * 2;
        (even(width), even(height))
    }

    fn drawn_size(&self) -> (u32, u32) {
        let (width, height) = self.scaled_size();
        if self.is_turned() { (height, width) } else { (width, height) }
    }

    fn is_turned(&self) -> bool {
        self.drawing.quarter_turns % 2 == 1
    }

    fn is_full_range(&self) -> bool {
        self.decoder.color_range() == color::Range::JPEG
    }

    fn frame_duration(&self) -> i64 {
        1.rescale(self.frame_rate().invert(), self.track.time_base).max(1)
    }

    fn frame_rate(&self) -> Rational {
        let rate = self.track.frame_rate;
        if rate.numerator() > 0 && rate.denominator() > 0 { rate } else { Rational::new(25, 1) }
    }
}

fn pixel_format(frame: &frame::Video) -> Result<&'static str, MediaError> {
    let descriptor = frame.format().descriptor();
    let descriptor = descriptor.ok_or_else(|| MediaError::unsupported("the picture's format has no name"))?;
    Ok(descriptor.name())
}
