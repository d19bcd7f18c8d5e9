//! Files that are broken, lie about themselves, or are none that we read; each with the code that it must end in.

use std::path::Path;

use crate::media;

#[derive(Clone)]
pub(super) struct Hostile {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// What the refusal calls it.
    pub(super) issue: &'static str,
}

/// `talk` is a good video to break; `folder` is for what is made on the way.
pub(super) fn all(folder: &Path, talk: &Path) -> Vec<Hostile> {
    let maker = Maker { folder };
    [no_media(), broken(&maker, talk), lying(&maker), oversized(&maker)].concat()
}

/// Other kinds of file under the names of media.
fn no_media() -> Vec<Hostile> {
    let unsupported =
        |name, bytes: &[u8]| Hostile { name, bytes: bytes.to_vec(), issue: "media_unsupported" };
    let utf16: Vec<u8> = "Grüße".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        Hostile { name: "empty.mp4", bytes: vec![], issue: "file_empty" },
        unsupported("one-byte.mp4", b"\0"),
        unsupported("zeros.mp4", &[0; 65_536]),
        unsupported("noise.mp4", &noise(200_000)),
        unsupported("noise.mp3", &noise(200_000)),
        unsupported("program.mp4", &std::fs::read("/bin/true").unwrap()),
        unsupported("archive.zip", b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        unsupported("archive.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1\x01\r\0\0\0\xc2\xa0\xf7Om\x0e7\xa0"),
        unsupported("document.pdf", b"%PDF-1.7\n\xE2\xE3\xCF\xD3\n1 0 obj\n<< >>\nendobj\n"),
        unsupported("database.db", b"SQLite format 3\0\x10\0\x01\x01"),
        unsupported("latin1.srt", b"1\n00:00:01,000 --> 00:00:02,000\nGr\xfc\xdfe\n"),
        unsupported("utf16.txt", &utf16),
        unsupported("nul.txt", b"text with a \0 in it"),
        unsupported("escape.txt", b"\x1b]0;title\x07"),
        unsupported("large.txt", "All work and no play. ".repeat(500_000).as_bytes()),
        unsupported("playlist.mp4", b"\0#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n"),
    ]
}

/// What an upload or a disk that broke off leaves.
fn broken(maker: &Maker<'_>, talk: &Path) -> Vec<Hostile> {
    let whole = std::fs::read(talk).unwrap();
    let talk = talk.to_str().unwrap();
    let matroska = maker.made("whole.mkv", &["-i", talk, "-c", "copy"]);
    let index_first = maker.made("fast.mp4", &["-i", talk, "-c", "copy", "-movflags", "+faststart"]);
    let wave = maker.made("whole.wav", &["-i", talk]);
    let truncated = |name, bytes: &[u8]| Hostile { name, bytes: bytes.to_vec(), issue: "media_truncated" };
    let headless = &whole[whole.len() / 2..];
    vec![
        Hostile { name: "headless.mp4", bytes: headless.to_vec(), issue: "media_unsupported" },
        truncated("index-lost.mp4", &whole[..whole.len() / 2]),
        truncated("cut-short.mp4", &whole[..1_000]),
        truncated("index-first.mp4", &index_first[..index_first.len() * 9 / 10]),
        truncated("cut-short.mkv", &matroska[..matroska.len() / 2]),
        truncated("cut-short.wav", &wave[..wave.len() / 2]),
    ]
}

/// Headers that promise what is not there.
fn lying(maker: &Maker<'_>) -> Vec<Hostile> {
    let nested: Vec<u8> = (1..2_000_u32)
        .rev()
        .flat_map(|depth| [&(depth * 8).to_be_bytes(), b"moov".as_slice()].concat())
        .collect();
    let endless =
        [b"\0\0\0\x18ftypisom\0\0\0\0isomiso2".as_slice(), b"\xff\xff\xff\xffmoov", &noise(5_000)].concat();
    let mut silent = maker.made("tone.wav", &["-f", "lavfi", "-i", "sine=duration=1"]);
    // Of the format: channels, then samples a second.
    silent[22..24].copy_from_slice(&0_u16.to_le_bytes());
    silent[24..28].copy_from_slice(&0_u32.to_le_bytes());
    let tagged = [b"ID3\x04\0\0\x7f\x7f\x7f\x7f".as_slice(), &noise(10_000)].concat();
    let hostile = |name, bytes, issue| Hostile { name, bytes, issue };
    vec![
        hostile("nested.mp4", nested, "media_unsupported"),
        hostile("endless-box.mp4", endless, "media_truncated"),
        hostile("no-channels.wav", silent, "media_unsupported"),
        hostile("endless-tag.mp3", tagged, "media_unsupported"),
    ]
}

/// More of something than anybody needs, and pictures, which we do not read.
fn oversized(maker: &Maker<'_>) -> Vec<Hostile> {
    let picture = |name, source| Hostile {
        name,
        bytes: maker.made(name, &["-f", "lavfi", "-i", source, "-frames:v", "1"]),
        issue: "media_unsupported",
    };
    let one = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "pcm_s16le"];
    let hundred: Vec<&str> = one.into_iter().chain(["-map", "0:a"].repeat(100)).collect();
    let mut wide =
        maker.made("wide.avi", &["-f", "lavfi", "-i", "testsrc2=size=64x64:duration=1", "-c:v", "wmv2"]);
    claim_size(&mut wide, 60_000);
    vec![
        Hostile { name: "hundred.mkv", bytes: maker.made("hundred.mkv", &hundred), issue: "media_too_large" },
        Hostile { name: "wide.avi", bytes: wide, issue: "media_too_large" },
        picture("image.jpg", "testsrc2=size=64x64"),
        picture("bomb.png", "color=size=16000x16000"),
        picture("animation.gif", "testsrc2=size=64x64"),
    ]
}

struct Maker<'a> {
    folder: &'a Path,
}

impl Maker<'_> {
    fn made(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let path = self.folder.join(name);
        media::make(&path, arguments);
        std::fs::read(path).unwrap()
    }
}

/// Bytes of a fixed generator: no pattern that a demuxer knows, the same at every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Has the header of an AVI file say that the picture is `points` wide and high.
fn claim_size(avi: &mut [u8], points: u32) {
    let format = avi.windows(4).position(|kind| kind == b"strf").unwrap();
    // Behind the chunk's header lies a BITMAPINFOHEADER: its size, the width, the height.
    for place in [format + 12, format + 16] {
        avi[place..place + 4].copy_from_slice(&points.to_le_bytes());
    }
}
