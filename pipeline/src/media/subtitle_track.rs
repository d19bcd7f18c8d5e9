//! Subtitles as tracks: the original's, carried over where the new container has a kind for them, and new ones.
//! Text is plain in SubRip and WebVTT and length-prefixed in MPEG-4, so moving it needs no codec.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use ffmpeg_next::codec::{Id, Parameters};
use ffmpeg_next::{Packet, Rational, ffi, media, packet};

use super::error::{Context, MediaError};
use super::muxer::Muxer;
use super::source::{Source, Track};
use crate::parameters::VideoContainer;
use crate::subtitles::{self, Cue};

/// A stream of the original that goes on in the output.
pub(super) struct CarriedTrack {
    /// Stream of the source.
    pub(super) source: usize,
    time_base: Rational,
    output: usize,
    from: Id,
    to: Id,
}

impl CarriedTrack {
    /// Adds what the container can hold of `track` to `muxer`. None where it cannot.
    pub(super) fn add(
        source: &Source,
        track: &Track,
        container: VideoContainer,
        muxer: &mut Muxer,
    ) -> Result<Option<Self>, MediaError> {
        let from = track.parameters.id();
        let Some(to) = kind_in(container, from) else { return Ok(None) };
        let parameters = if to == from { track.parameters.clone() } else { parameters(to) };
        let output = muxer.add_copied(parameters, track.time_base)?;
        let stream = source.stream(track.index);
        let language = stream.as_ref().and_then(|stream| Some(stream.metadata().get("language")?.to_owned()));
        if let Some(language) = &language {
            muxer.describe(output, &[("language", language)]);
        }
        Ok(Some(Self { source: track.index, time_base: track.time_base, output, from, to }))
    }

    pub(super) fn write(&self, mut packet: Packet, muxer: &mut Muxer) -> Result<(), MediaError> {
        if self.from == Id::MOV_TEXT || self.from != self.to {
            let payload = packet.data().unwrap_or_default();
            let text = plain_text(self.from, payload);
            // MPEG-4 says silence between two texts by an empty one; the muxer adds those again.
            if text.is_empty() {
                return Ok(());
            }
            if self.from != self.to {
                packet = with_payload(&packet, &payload_of(self.to, &text));
            }
        }
        if packet.pts().is_none() {
            return Ok(());
        }
        muxer.write(&mut packet, self.output, self.time_base)
    }
}

/// A new track, from a file of cues.
pub(super) struct NewTrack {
    output: usize,
    kind: Id,
    cues: VecDeque<Cue>,
}

impl NewTrack {
    pub(super) fn add(
        path: &Path,
        language: Option<&str>,
        container: VideoContainer,
        muxer: &mut Muxer,
    ) -> Result<Self, MediaError> {
        let kind = match container {
            VideoContainer::Mp4 | VideoContainer::Mov => Id::MOV_TEXT,
            VideoContainer::Mkv => Id::SUBRIP,
            VideoContainer::Webm => Id::WEBVTT,
        };
        let output = muxer.add_copied(parameters(kind), CLOCK)?;
        muxer.describe(output, &[("language", language_code(language.unwrap_or("und"), container))]);
        muxer.make_default(output);
        Ok(Self { output, kind, cues: read_cues(path)?.into() })
    }

    /// Writes the cues that start before `seconds`, so that they lie beside the picture that they belong to.
    pub(super) fn write_until(&mut self, seconds: f64, muxer: &mut Muxer) -> Result<(), MediaError> {
        while let Some(cue) = self.cues.pop_front_if(|cue| cue.start < seconds) {
            let text = without_tags(&cue.text);
            let mut packet = Packet::copy(&payload_of(self.kind, &text));
            let [start, end] = [cue.start, cue.end].map(|time| (time * 1000.0).round() as i64);
            packet.set_pts(Some(start));
            packet.set_dts(Some(start));
            packet.set_duration(end - start);
            packet.set_flags(packet::Flags::KEY);
            muxer.write(&mut packet, self.output, CLOCK)?;
        }
        Ok(())
    }
}

/// The cues of a SubRip file, one at a time.
pub(super) fn read_cues(path: &Path) -> Result<Vec<Cue>, MediaError> {
    let text = fs::read_to_string(path).context("read the subtitles")?;
    let cues = subtitles::parse(&text)
        .map_err(|invalid| MediaError::unsupported(format!("the subtitles: {invalid}")))?;
    Ok(subtitles::one_at_a_time(&cues))
}

/// Times of new tracks are in milliseconds.
const CLOCK: Rational = Rational(1, 1000);

/// The kind of subtitles that a stream of kind `from` becomes in `container`.
fn kind_in(container: VideoContainer, from: Id) -> Option<Id> {
    let is_text = matches!(from, Id::SUBRIP | Id::WEBVTT | Id::MOV_TEXT | Id::TEXT);
    match container {
        VideoContainer::Mp4 | VideoContainer::Mov => is_text.then_some(Id::MOV_TEXT),
        VideoContainer::Webm => is_text.then_some(Id::WEBVTT),
        VideoContainer::Mkv if matches!(from, Id::MOV_TEXT | Id::TEXT) => Some(Id::SUBRIP),
        VideoContainer::Mkv => {
            let is_known =
                is_text || matches!(from, Id::ASS | Id::SSA | Id::HDMV_PGS_SUBTITLE | Id::DVD_SUBTITLE);
            is_known.then_some(from)
        }
    }
}

fn plain_text(kind: Id, payload: &[u8]) -> String {
    let text = match (kind, payload) {
        (Id::MOV_TEXT, [high, low, text @ ..]) => {
            // Boxes with styles may follow the text.
            &text[..text.len().min(usize::from(u16::from_be_bytes([*high, *low])))]
        }
        (Id::MOV_TEXT, _no_text) => &[],
        (_, text) => text,
    };
    without_tags(String::from_utf8_lossy(text).trim())
}

fn payload_of(kind: Id, text: &str) -> Vec<u8> {
    match kind {
        Id::MOV_TEXT => {
            let mut end = text.len().min(usize::from(u16::MAX));
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let length = u16::try_from(end).unwrap_or(u16::MAX);
            [&length.to_be_bytes(), &text.as_bytes()[..end]].concat()
        }
        Id::WEBVTT => text.replace('&', "&amp;").replace('<', "&lt;").into_bytes(),
        _subrip => text.as_bytes().to_vec(),
    }
}

/// Text without `<i>` and its like, which MPEG-4 would show as letters.
fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        out += before;
        let is_tag = tag[1..].starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
        rest = match tag.find('>').filter(|_| is_tag) {
            Some(end) => &tag[end + 1..],
            None => {
                out.push('<');
                &tag[1..]
            }
        };
    }
    out + rest
}

fn with_payload(original: &Packet, payload: &[u8]) -> Packet {
    let mut packet = Packet::copy(payload);
    packet.set_pts(original.pts());
    packet.set_dts(original.dts().or(original.pts()));
    packet.set_duration(original.duration());
    packet.set_flags(packet::Flags::KEY);
    packet
}

#[expect(unsafe_code, reason = "the wrapper cannot set the header of a codec")]
fn parameters(kind: Id) -> Parameters {
    /// 3GPP TS 26.245, 5.16: how the text of the track looks by default: bottom centre, white, 18 points.
    const TEXT_SAMPLE_ENTRY: &[u8] =
        b"\0\0\0\0\x01\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x12\xff\xff\xff\xff\
        \0\0\0\x12ftab\0\x01\0\x01\x05Serif";
    let mut parameters = Parameters::new();
    parameters.set_medium(media::Type::Subtitle);
    parameters.set_id(kind);
    if kind == Id::MOV_TEXT {
        let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        // SAFETY: the header is allocated by the library's own allocator, zeroed and padded as it asks, and is owned
        // by the parameters.
        unsafe {
            let header = ffi::av_mallocz(TEXT_SAMPLE_ENTRY.len() + padding).cast::<u8>();
            if !header.is_null() {
                header.copy_from_nonoverlapping(TEXT_SAMPLE_ENTRY.as_ptr(), TEXT_SAMPLE_ENTRY.len());
                (*parameters.as_mut_ptr()).extradata = header;
                (*parameters.as_mut_ptr()).extradata_size = TEXT_SAMPLE_ENTRY.len() as i32;
            }
        }
    }
    parameters
}

/// ISO 639-2 for ISO 639-1, as containers want it. A code that is not in the table passes as it is.
fn language_code(language: &str, container: VideoContainer) -> &str {
    let primary = language.split(['-', '_']).next().unwrap_or(language);
    let pair = THREE_LETTERS.split(' ').find(|pair| pair.split('=').next() == Some(primary));
    let code = pair.and_then(|pair| pair.split('=').nth(1)).unwrap_or(primary);
    match (container, code) {
        (VideoContainer::Mp4, code) => code,
        // QuickTime and Matroska know some languages by the older, English, codes.
        (_, "deu") => "ger",
        (_, "ell") => "gre",
        (_, "isl") => "ice",
        (_, "nld") => "dut",
        (_, "zho") => "chi",
        (_, code) => code,
    }
}

const THREE_LETTERS: &str = "ar=ara bg=bul ca=cat cs=ces cy=cym da=dan de=deu el=ell en=eng es=spa et=est fa=fas \
    fi=fin fr=fra he=heb hi=hin hr=hrv hu=hun id=ind is=isl it=ita ja=jpn ka=kat kk=kaz ko=kor lt=lit lv=lav ms=msa \
    ne=nep nl=nld no=nor pl=pol pt=por ro=ron ru=rus sk=slk sl=slv sr=srp sv=swe sw=swa ta=tam te=tel th=tha tr=tur \
    uk=ukr ur=urd vi=vie zh=zho";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_the_way_through_every_kind() {
        let text = "Où est <i>Anna</i>?\n1 < 2";
        for kind in [Id::SUBRIP, Id::MOV_TEXT] {
            let payload = payload_of(kind, &without_tags(text));
            assert_eq!(plain_text(kind, &payload), "Où est Anna?\n1 < 2", "{kind:?}");
        }
    }

    #[test]
    fn a_text_of_mpeg4_is_cut_between_characters() {
        let payload = payload_of(Id::MOV_TEXT, &"é".repeat(40_000));
        assert_eq!(payload.len(), 2 + 65_534);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
    }

    #[test]
    fn a_language_has_the_code_that_its_container_knows() {
        assert_eq!(language_code("de", VideoContainer::Mp4), "deu");
        assert_eq!(language_code("de-AT", VideoContainer::Mkv), "ger");
        assert_eq!(language_code("fr", VideoContainer::Mov), "fra");
        assert_eq!(language_code("tlh", VideoContainer::Mp4), "tlh");
    }
}
