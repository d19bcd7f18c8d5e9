//! The output file.

use std::fs;
use std::path::{Path, PathBuf};

use ffmpeg_next::codec::{Context as CodecContext, Id, Parameters};
use ffmpeg_next::format::{self, context, stream};
use ffmpeg_next::packet::side_data;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, ffi};

use super::child::Job;
use super::error::{Context, MediaError};

pub(super) struct Muxer {
    output: context::Output,
    path: PathBuf,
}

impl Muxer {
    /// `format` is FFmpeg's name of the container.
    pub(super) fn create(path: &Path, format: &str) -> Result<Self, MediaError> {
        let name = path.to_str().ok_or_else(|| MediaError::failed("the output's name is not UTF-8"))?;
        let output = format::output_as(name, format).context("create the output")?;
        Ok(Self { output, path: path.to_owned() })
    }

    /// True when encoders must hand their headers over before the first packet.
    pub(super) fn wants_global_header(&self) -> bool {
        self.output.format().flags().contains(format::Flags::GLOBAL_HEADER)
    }

    /// Adds the stream of an open encoder.
    pub(super) fn add_encoded(
        &mut self,
        encoder: &impl AsRef<CodecContext>,
        time_base: Rational,
    ) -> Result<usize, MediaError> {
        let mut stream = self.output.add_stream_with(encoder.as_ref()).context("add a stream")?;
        stream.set_time_base(time_base);
        Ok(stream.index())
    }

    /// Adds a stream whose packets come from another file as they are.
    #[expect(unsafe_code, reason = "the wrapper cannot set the tag of a codec")]
    pub(super) fn add_copied(
        &mut self,
        parameters: Parameters,
        time_base: Rational,
    ) -> Result<usize, MediaError> {
        let tag = match parameters.id() {
            // Apple's players know HEVC by this tag alone.
            Id::HEVC if self.output.format().name() != "matroska" => u32::from_le_bytes(*b"hvc1"),
            _other => 0,
        };
        let mut stream = self.output.add_stream(None::<ffmpeg_next::Codec>).context("add a stream")?;
        stream.set_parameters(parameters);
        stream.set_time_base(time_base);
        // SAFETY: the stream has just been added to the output that we hold mutably. A tag of 0 lets the muxer choose
        // its own; the tag of another container could be wrong in this one.
        unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = tag };
        Ok(stream.index())
    }

    /// Keeps what is `wanted` of a stream's turn, mastering data and the like, which are not part of the codec's
    /// parameters.
    #[expect(unsafe_code, reason = "the wrapper cannot add side data to a stream")]
    pub(super) fn copy_side_data(
        &mut self,
        from: &stream::Stream<'_>,
        to: usize,
        wanted: impl Fn(side_data::Type) -> bool,
    ) -> Result<(), MediaError> {
        let Some(mut stream) = self.output.stream_mut(to) else { return Ok(()) };
        for data in from.side_data().filter(|data| wanted(data.kind())) {
            let (kind, bytes) = (data.kind(), data.data());
            // SAFETY: the new side data belongs to the stream and has the size asked for, or is null.
            unsafe {
                let copy = ffi::av_stream_new_side_data(stream.as_mut_ptr(), kind.into(), bytes.len());
                if copy.is_null() {
                    return Err(MediaError::failed("no memory for side data"));
                }
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
            }
        }
        Ok(())
    }

    /// Says what a stream is to players: its language, say.
    pub(super) fn describe(&mut self, stream: usize, metadata: &[(&str, &str)]) {
        if let Some(mut stream) = self.output.stream_mut(stream) {
            stream.set_metadata(metadata.iter().copied().collect());
        }
    }

    /// Shows the stream unless the viewer says otherwise.
    #[expect(unsafe_code, reason = "the wrapper cannot set the disposition of a stream")]
    pub(super) fn make_default(&mut self, stream: usize) {
        if let Some(mut stream) = self.output.stream_mut(stream) {
            // SAFETY: the stream belongs to the output that we hold mutably.
            unsafe { (*stream.as_mut_ptr()).disposition |= ffi::AV_DISPOSITION_DEFAULT };
        }
    }

    /// Writes the header. No stream can be added afterwards.
    pub(super) fn begin(&mut self, options: &[(&str, &str)]) -> Result<(), MediaError> {
        let options: Dictionary<'_> = options.iter().copied().collect();
        self.output.write_header_with(options).map(drop).context("write the header")
    }

    /// Writes a packet whose times are in `time_base`.
    pub(super) fn write(
        &mut self,
        packet: &mut Packet,
        stream: usize,
        time_base: Rational,
    ) -> Result<(), MediaError> {
        let target = self.output.stream(stream).map(|stream| stream.time_base());
        let target = target.ok_or_else(|| MediaError::failed("no such stream in the output"))?;
        packet.rescale_ts(time_base, target);
        packet.set_stream(stream);
        packet.set_position(-1);
        packet.write_interleaved(&mut self.output).context("write a packet")
    }

    /// Writes what is left and makes sure that all of it reached the file.
    #[expect(unsafe_code, reason = "the wrapper closes the file without looking at its errors")]
    pub(super) fn finish(mut self, job: &Job) -> Result<(), MediaError> {
        job.finishing(fs::metadata(&self.path).map_or(0, |metadata| metadata.len()));
        self.output.write_trailer().context("finish the output")?;
        // SAFETY: the writer is open as long as the output lives.
        let error = unsafe {
            let writer = (*self.output.as_mut_ptr()).pb;
            ffi::avio_flush(writer);
            (*writer).error
        };
        if error < 0 { Err(Error::from(error)).context("write the output") } else { Ok(()) }
    }
}
