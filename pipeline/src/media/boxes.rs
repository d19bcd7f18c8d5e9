//! The outline of MPEG-4, Matroska and WAV files, read without a decoder: whether the file ends before its outermost
//! parts do, as an upload that broke off does.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// True when the file is MPEG-4, Matroska or WAV and plainly incomplete. False for all else, unreadable files included.
pub(super) fn is_cut_short(path: &Path) -> bool {
    let outline = File::open(path).and_then(|mut file| {
        let mut start = [0; 12];
        let read = read_up_to(&mut file, &mut start)?;
        file.rewind()?;
        let size = file.metadata()?.len();
        match &start[..read] {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => mpeg4_is_cut_short(&mut file, size),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska_is_cut_short(&mut file, size),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => wav_is_cut_short(&mut file, size),
            _other => Ok(false),
        }
    });
    outline.unwrap_or(false)
}

/// True when a Matroska file says of itself that it is of the kind for the web.
pub(super) fn is_webm(path: &Path) -> bool {
    let mut start = [0; 64];
    let read = File::open(path).and_then(|mut file| read_up_to(&mut file, &mut start)).unwrap_or(0);
    start[..read].windows(7).any(|bytes| bytes == b"\x42\x82\x84webm")
}

/// The brand of an MPEG-4 file, such as `isom`, `qt  ` or `M4A `.
pub(super) fn major_brand(path: &Path) -> Option<[u8; 4]> {
    let mut start = [0; 12];
    let read = File::open(path).and_then(|mut file| read_up_to(&mut file, &mut start)).ok()?;
    match start {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if read == start.len() => Some(brand),
        _other => None,
    }
}

/// ISO/IEC 14496-12, 4.2: a file is a row of boxes, each with its size. One that reaches past the end of the file,
/// or a file without the box that describes it, was cut.
fn mpeg4_is_cut_short(file: &mut File, file_size: u64) -> io::Result<bool> {
    /// More than any sensible file has at its top level, fragmented ones excepted: those describe themselves early.
    const MOST_BOXES: usize = 100_000;
    const KNOWN: [&[u8; 4]; 14] = [
        b"ftyp", b"styp", b"pdin", b"moov", b"meta", b"mdat", b"moof", b"mfra", b"free", b"skip", b"wide",
        b"sidx", b"emsg", b"uuid",
    ];
    let mut position = 0;
    let mut is_described = false;
    for _box in 0..MOST_BOXES {
        if position >= file_size {
            return Ok(!is_described);
        }
        file.seek(SeekFrom::Start(position))?;
        let mut header = [0; 16];
        let read = read_up_to(file, &mut header)?;
        if read < 8 {
            return Ok(true);
        }
        let [a, b, c, d, kind @ .., _, _, _, _, _, _, _, _] = header;
        let size = match u32::from_be_bytes([a, b, c, d]) {
            0 => file_size - position,
            1 if read == 16 => u64::from_be_bytes(last_eight(header)),
            1 => return Ok(true),
            size => size.into(),
        };
        is_described |= &kind == b"moov";
        // Only a box that we know can be missing its end: another may be anybody's padding, or of a newer standard, and
        // what follows it is for the reader to judge.
        if !KNOWN.contains(&&kind) || size < 8 {
            return Ok(false);
        }
        position = match position.checked_add(size) {
            Some(end) if end <= file_size => end,
            Some(_) | None => return Ok(true),
        };
    }
    Ok(false)
}

/// RFC 8794: an EBML header, then one segment with its size, all ones when it is not known (a live recording).
fn matroska_is_cut_short(file: &mut File, file_size: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(4))?;
    let Some(header_size) = read_vint(file)? else { return Ok(false) };
    file.seek(SeekFrom::Current(i64::try_from(header_size).unwrap_or(i64::MAX)))?;
    let mut id = [0; 4];
    if read_up_to(file, &mut id)? < id.len() {
        return Ok(true);
    }
    if id != [0x18, 0x53, 0x80, 0x67] {
        return Ok(false);
    }
    let Some(segment_size) = read_vint(file)? else { return Ok(false) };
    Ok(file.stream_position()?.saturating_add(segment_size) > file_size)
}

/// The row of chunks up to the one that holds the sound.
fn wav_is_cut_short(file: &mut File, file_size: u64) -> io::Result<bool> {
    /// A program that writes into a pipe cannot know the size, and writes something near the largest one.
    const UNKNOWN: u64 = 0x7fff_f000;
    let mut position = 12;
    while position + 8 <= file_size {
        file.seek(SeekFrom::Start(position))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let [kind @ .., a, b, c, d] = header;
        let size = u64::from(u32::from_le_bytes([a, b, c, d]));
        let end = position + 8 + size;
        if &kind == b"data" {
            // A few missing bytes are a sloppy writer's.
            return Ok(size < UNKNOWN && end > file_size + size / 100);
        }
        // Chunks are padded to an even size.
        position = end + size % 2;
    }
    Ok(false)
}

/// A size of EBML: the leading zero bits of the first byte count the bytes that follow. None where it is unknown.
fn read_vint(file: &mut File) -> io::Result<Option<u64>> {
    let mut first = [0];
    file.read_exact(&mut first)?;
    let following = first[0].leading_zeros() as usize;
    if following > 7 {
        return Ok(None);
    }
    let mut rest = [0; 7];
    file.read_exact(&mut rest[..following])?;
    let marker = 0x80_u8 >> following;
    let value = rest[..following]
        .iter()
        .fold(u64::from(first[0] & (marker - 1)), |value, byte| value << 8 | u64::from(*byte));
    let unknown = (1_u64 << (7 * (following + 1))) - 1;
    Ok((value != unknown).then_some(value))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn last_eight(bytes: [u8; 16]) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = bytes;
    [a, b, c, d, e, f, g, h]
}
