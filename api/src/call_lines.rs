//! The lines of an import as they come, CSV or JSON. Room is made for one line, and no more than a line may have: what is
//! longer is read past.

use std::io::{self, Cursor};
use std::pin::Pin;

use csv_core::ReadRecordResult;
use futures_util::TryStreamExt;
use pipeline::parameters::Invalid;
use poem::Body;
use serde_json::{Map, Number, Value};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::body;
use crate::error::{ApiError, Result};
use crate::pace::is_stopping;
use crate::strict_json;

/// Longest line, in bytes.
pub(crate) const LONGEST: usize = body::LARGEST;
/// Most columns of a table.
const MOST_COLUMNS: usize = 256;
/// Room for a line at first.
const ROOM: usize = 64 << 10;
const MARK: &[u8] = "\u{feff}".as_bytes();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    JsonLines,
}

/// One line, or record of several lines.
pub(crate) struct Line {
    /// Where it begins, from 1.
    pub(crate) number: u64,
    pub(crate) bytes: usize,
    /// An object; or what is wrong with the line.
    pub(crate) call: std::result::Result<Value, Invalid>,
}

pub(crate) enum Lines {
    Csv(Box<CsvLines>),
    Json(JsonLines),
}

impl Lines {
    /// Reads to the end of what says how to read the rest. `limit` is for all bytes together.
    pub(crate) async fn open(body: Body, format: Format, limit: u64) -> Result<Self> {
        let source = Source::open(body, limit).await?;
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(CsvLines::open(source).await?)),
            Format::JsonLines => Self::Json(JsonLines { source, number: 0, line: vec![] }),
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Line>> {
        match self {
            Self::Csv(lines) => lines.next().await,
            Self::Json(lines) => lines.next().await,
        }
    }
}

/// The bytes of a body, without the mark that some programs put before UTF-8.
struct Source {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    left: u64,
    limit: u64,
}

impl Source {
    async fn open(body: Body, limit: u64) -> Result<Self> {
        let mut reader = StreamReader::new(body.into_bytes_stream().map_err(io::Error::other));
        let mut head = vec![];
        (&mut reader).take(MARK.len() as u64).read_to_end(&mut head).await.map_err(broken_off)?;
        if head == MARK {
            head.clear();
        }
        Ok(Self { reader: Box::pin(Cursor::new(head).chain(reader)), left: limit, limit })
    }

    /// What is there; empty at the end.
    async fn fill(&mut self) -> Result<&[u8]> {
        let limit = self.limit;
        let bytes = self.reader.fill_buf().await.map_err(broken_off)?;
        if bytes.len() as u64 > self.left { Err(ApiError::too_large(limit)) } else { Ok(bytes) }
    }

    fn consume(&mut self, bytes: usize) {
        self.left -= bytes as u64;
        self.reader.as_mut().consume(bytes);
    }
}

/// A table, whose first line names its columns.
pub(crate) struct CsvLines {
    source: Source,
    reader: csv_core::Reader,
    columns: Vec<Option<Column>>,
    /// The fields of a record, one after the other.
    fields: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

/// One record of a table.
struct Record {
    number: u64,
    bytes: usize,
    /// How many fields; none of a record that is too large.
    fields: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Column {
    name: &'static str,
    kind: Kind,
}

/// How the text of a field is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    List,
}

const COLUMNS: [Column; 14] = [
    column("external_id", Kind::Text),
    column("phone_number", Kind::Text),
    column("status", Kind::Text),
    column("duration_seconds", Kind::Number),
    column("agent_id", Kind::Text),
    column("campaign_id", Kind::Text),
    column("sentiment", Kind::Text),
    column("emotions", Kind::List),
    column("key_phrases", Kind::List),
    column("transcript", Kind::Text),
    column("summary", Kind::Text),
    column("cost", Kind::Number),
    column("recording_file_id", Kind::Text),
    column("created_at", Kind::Text),
];
const REQUIRED: [&str; 2] = ["phone_number", "status"];

impl CsvLines {
    async fn open(source: Source) -> Result<Self> {
        let mut lines = Self {
            source,
            reader: csv_core::Reader::new(),
            columns: vec![],
            fields: vec![0; ROOM],
            ends: vec![0; MOST_COLUMNS],
        };
        let header = lines.record().await?.ok_or_else(no_calls)?;
        let fields = header.fields.ok_or_else(|| ApiError::invalid("body", "has too long a first line"))?;
        for index in 0..fields {
            let name =
                std::str::from_utf8(lines.field(index)).unwrap_or_default().trim().to_ascii_lowercase();
            let column = COLUMNS.into_iter().find(|column| column.name == name);
            if column.is_some() && lines.columns.contains(&column) {
                return Err(ApiError::invalid(name, "appears more than once in the first line"));
            }
            lines.columns.push(column);
        }
        for name in REQUIRED {
            if !lines.columns.iter().flatten().any(|column| column.name == name) {
                return Err(ApiError::invalid(name, "is missing in the first line, which names the columns"));
            }
        }
        Ok(lines)
    }

    async fn next(&mut self) -> Result<Option<Line>> {
        let Some(Record { number, bytes, fields }) = self.record().await? else { return Ok(None) };
        let call = match fields {
            None => Err(too_long()),
            Some(fields) => self.object(fields),
        };
        Ok(Some(Line { number, bytes, call }))
    }

    async fn record(&mut self) -> Result<Option<Record>> {
        let (mut bytes, mut fields, mut newlines, mut whole) = (0, 0, 0, true);
        loop {
            let input = self.source.fill().await?;
            let (result, read, written, ended) =
                self.reader.read_record(input, &mut self.fields[bytes..], &mut self.ends[fields..]);
            let at_newline = input[..read].last() == Some(&b'\n');
            self.source.consume(read);
            newlines += count_newlines(&self.fields[bytes..bytes + written]);
            (bytes, fields) = (bytes + written, fields + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.fields.len() < LONGEST => {
                    self.fields.resize((self.fields.len() * 2).min(LONGEST), 0);
                }
                // Read past what is left of it.
                ReadRecordResult::OutputFull => (bytes, whole) = (0, false),
                ReadRecordResult::OutputEndsFull => (fields, whole) = (0, false),
                ReadRecordResult::Record => {
                    let number = self.reader.line() - u64::from(at_newline) - newlines;
                    return Ok(Some(Record { number, bytes, fields: whole.then_some(fields) }));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.fields[start..self.ends[index]]
    }

    fn object(&self, fields: usize) -> std::result::Result<Value, Invalid> {
        if fields != self.columns.len() {
            let columns = self.columns.len();
            return Err(Invalid::new("line", format!("has {fields} fields, and the first line {columns}")));
        }
        let mut object = Map::new();
        for (index, column) in self.columns.iter().enumerate() {
            let Some(Column { name, kind }) = *column else { continue };
            let text =
                std::str::from_utf8(self.field(index)).map_err(|_| Invalid::new(name, "must be UTF-8"))?;
            if text.contains('\0') {
                return Err(Invalid::new(name, "must not hold NUL"));
            }
            // A table has no other way to leave something out.
            if !text.trim().is_empty() {
                object.insert(name.to_owned(), kind.read(text));
            }
        }
        Ok(Value::Object(object))
    }
}

impl Kind {
    /// What is no number stays text, and is refused for that.
    fn read(self, text: &str) -> Value {
        match self {
            Self::Text => Value::from(text),
            Self::Number => {
                let number = text.trim().parse::<Number>().map(Value::Number);
                number.unwrap_or_else(|_| Value::from(text))
            }
            Self::List => text.split(';').map(str::trim).filter(|item| !item.is_empty()).collect(),
        }
    }
}

/// A JSON object a line.
pub(crate) struct JsonLines {
    source: Source,
    number: u64,
    line: Vec<u8>,
}

impl JsonLines {
    async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let Some(whole) = self.read_line().await? else { return Ok(None) };
            let line = self.line.trim_ascii();
            if whole && line.is_empty() {
                continue;
            }
            let call = if whole { strict_json::parse(line).map_err(in_line) } else { Err(too_long()) };
            return Ok(Some(Line { number: self.number, bytes: line.len(), call }));
        }
    }

    /// Whether the next line is held whole; none at the end.
    async fn read_line(&mut self) -> Result<Option<bool>> {
        self.line.clear();
        self.number += 1;
        let (mut begun, mut whole) = (false, true);
        loop {
            let input = self.source.fill().await?;
            if input.is_empty() {
                return Ok(begun.then_some(whole));
            }
            begun = true;
            let newline = input.iter().position(|byte| *byte == b'\n');
            let text = &input[..newline.unwrap_or(input.len())];
            whole &= self.line.len() + text.len() <= LONGEST;
            if whole {
                self.line.extend_from_slice(text);
            }
            let read = newline.map_or(input.len(), |newline| newline + 1);
            self.source.consume(read);
            if newline.is_some() {
                return Ok(Some(whole));
            }
        }
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

fn count_newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What is wrong with the body elsewhere is wrong with one line of it here.
pub(crate) fn in_line(invalid: Invalid) -> Invalid {
    match invalid.field.as_str() {
        "body" => Invalid::new("line", invalid.issue),
        _ => invalid,
    }
}

pub(crate) fn no_calls() -> ApiError {
    ApiError::invalid("body", "holds no calls")
}

fn too_long() -> Invalid {
    Invalid::new("line", format!("is longer than {LONGEST} bytes, or has more than {MOST_COLUMNS} fields"))
}

fn broken_off(error: io::Error) -> ApiError {
    if is_stopping(&error) {
        return ApiError::unavailable(
            "The server is stopping. What came before may be imported already, and can be sent again",
        );
    }
    ApiError::invalid("body", "broke off; what came before may be imported already, and can be sent again")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use poem::Body;
    use serde_json::{Value, json};

    use super::{Format, LONGEST, Lines};

    /// Where each line begins, and what it says or what is wrong with it; the bytes come so many at a time.
    async fn read(bytes: &[u8], format: Format, at_a_time: usize) -> Vec<(u64, Value)> {
        let chunks: Vec<_> = bytes
            .chunks(at_a_time)
            .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
            .collect();
        let body = Body::from_bytes_stream(stream::iter(chunks));
        let mut lines = Lines::open(body, format, 1 << 30).await.unwrap();
        let mut read = vec![];
        while let Some(line) = lines.next().await.unwrap() {
            read.push((line.number, line.call.unwrap_or_else(|fault| json!([fault.field, fault.issue]))));
        }
        read
    }

    #[tokio::test]
    async fn a_table_is_read_whatever_wrote_it() {
        let text = "\u{feff}Status, phone_number ,note,transcript,emotions,cost\r\n\
            completed,+1,x,\"a \"\"b\"\",\nc\r\nd\",calm; glad;,0.50\r\n\
            \r\n\
            failed,+2,,,,\r\n\
            queued,+3,,é,,much";
        for at_a_time in [1, 2, 3, 7, 1000] {
            assert_eq!(
                read(text.as_bytes(), Format::Csv, at_a_time).await,
                [
                    (
                        2,
                        json!({"status": "completed", "phone_number": "+1", "transcript": "a \"b\",\nc\r\nd",
                            "emotions": ["calm", "glad"], "cost": 0.5})
                    ),
                    (6, json!({"status": "failed", "phone_number": "+2"})),
                    (7, json!({"status": "queued", "phone_number": "+3", "transcript": "é", "cost": "much"})),
                ],
                "{at_a_time} bytes at a time"
            );
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_line_does_not_hurt_the_next() {
        let long = "x".repeat(LONGEST + 1);
        let text = [
            b"phone_number,status\n+1\n+1,completed,more\n+\xff,completed\n+\0,completed\n".as_slice(),
            long.as_bytes(),
            b",completed\n\"a\nb\",",
            long.as_bytes(),
            b"\n",
            ",".repeat(300).as_bytes(),
            b"\n+2,failed\n",
        ]
        .concat();
        let read = read(&text, Format::Csv, 5000).await;
        let faults: Vec<_> = read.iter().map(|(number, call)| (*number, call[0].as_str())).collect();
        assert_eq!(
            faults,
            [
                (2, Some("line")),
                (3, Some("line")),
                (4, Some("phone_number")),
                (5, Some("phone_number")),
                (6, Some("line")),
                (7, Some("line")),
                (9, Some("line")),
                (10, None),
            ]
        );
        assert_eq!(read[7].1, json!({"phone_number": "+2", "status": "failed"}));
    }

    #[tokio::test]
    async fn lines_of_json_are_read_each_for_itself() {
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(LONGEST));
        let text = [
            "\u{feff}{\"a\": 1}\r\n\n  \n{\"a\": \"\\u0000\"}\n{\"a\": 1, \"a\": 2}\n[\n",
            &long,
            "\n{\"b\": []}",
        ];
        for at_a_time in [3, 1000] {
            let read = read(text.concat().as_bytes(), Format::JsonLines, at_a_time).await;
            let seen: Vec<_> = read.iter().map(|(number, call)| (*number, call[0].as_str())).collect();
            let faults = [(4, Some("a")), (5, Some("a")), (6, Some("line")), (7, Some("line"))];
            assert_eq!(seen[1..5], faults);
            assert_eq!((&read[0], &read[5]), (&(1, json!({"a": 1})), &(8, json!({"b": []}))));
        }
    }

    #[tokio::test]
    async fn a_table_without_its_columns_is_refused() {
        for text in ["", "\n", "+1,completed\n", "phone_number\n+1", "phone_number,status,Status\n"] {
            assert!(Lines::open(Body::from(text), Format::Csv, 1 << 30).await.is_err(), "{text:?}");
        }
        assert!(Lines::open(Body::from("phone_number,status\n"), Format::Csv, 5).await.is_err());
    }
}
