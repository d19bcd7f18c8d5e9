//! Call logs in bulk: each line is checked for itself, and what is right is stored a block at a time.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use pipeline::parameters::Invalid;
use poem::{Body, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};
use storage::calls::{CallLog, CallPrice, Cost, NewCall, Outcome};
use storage::ids::{AgentId, CampaignId, FileId, UserId};

use crate::app::App;
use crate::body::content_length;
use crate::call_lines::{Format, Line, Lines, in_line, no_calls};
use crate::dto::calls::{ImportReport, ImportedCallObject, LineError};
use crate::error::{ApiError, Result};
use crate::pace::paced;
use crate::schema::Checker;
use crate::{phone_number, strict_json};

/// Largest import, in bytes, where uploads may be larger still.
const LARGEST: u64 = 1 << 30;
/// Calls, and bytes of lines, of one block.
const BLOCK: usize = 500;
const BLOCK_BYTES: usize = 4 << 20;
/// Refused lines that are named in the answer.
const MOST_ERRORS: usize = 100;
/// Longest emotion or key phrase, in characters.
const LONGEST_PHRASE: usize = 200;

/// Call logs in one of the formats that are read.
pub(crate) struct SentCalls {
    body: Body,
    format: Format,
    length: Option<u64>,
}

/// Reads to the end, however many lines are at fault.
pub(crate) async fn import(app: &Arc<App>, owner: UserId, sent: SentCalls) -> Result<ImportReport> {
    let limit = app.services.config.max_upload_bytes.min(LARGEST);
    if sent.length.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit));
    }
    let _under_way = app.throttle.as_ref().map(|throttle| throttle.imports.begin(owner)).transpose()?;
    let mut lines = Lines::open(paced(app, owner, sent.body), sent.format, limit).await?;
    let mut import = Import { app, owner, reader: CallReader::new(app), block: Block::default() };
    let mut report = ImportReport::default();
    let mut empty = true;
    while let Some(line) = lines.next().await? {
        empty = false;
        import.take(line, &mut report).await?;
    }
    if empty {
        return Err(no_calls());
    }
    import.store(&mut report).await?;
    report.errors.sort_by_key(|error| error.line);
    Ok(report)
}

struct Import<'a> {
    app: &'a App,
    owner: UserId,
    reader: CallReader,
    block: Block,
}

/// Calls that are to be stored together, and the lines that they came in.
#[derive(Default)]
struct Block {
    lines: Vec<u64>,
    calls: Vec<NewCall>,
    bytes: usize,
}

impl Import<'_> {
    async fn take(&mut self, line: Line, report: &mut ImportReport) -> Result<()> {
        match line.call.and_then(|call| self.reader.read(call, Utc::now())) {
            Err(Invalid { field, issue }) => report.refuse(line.number, field, issue),
            Ok(call) => {
                self.block.lines.push(line.number);
                self.block.calls.push(call);
                self.block.bytes += line.bytes;
            }
        }
        if self.block.calls.len() >= BLOCK || self.block.bytes >= BLOCK_BYTES {
            self.store(report).await?;
        }
        Ok(())
    }

    async fn store(&mut self, report: &mut ImportReport) -> Result<()> {
        let Block { lines, calls, .. } = std::mem::take(&mut self.block);
        let outcomes = self.app.services.storage.calls.import(self.owner, calls).await?;
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Imported(_) => report.imported += 1,
                Outcome::Duplicate => report.duplicates += 1,
                Outcome::Refused { field, issue } => report.refuse(line, field.to_owned(), issue.to_owned()),
            }
        }
        Ok(())
    }
}

impl ImportReport {
    fn refuse(&mut self, line: u64, field: String, issue: String) {
        self.failed += 1;
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(LineError { line, field, issue });
        }
    }
}

/// Makes calls of lines.
struct CallReader {
    checker: Checker,
    price: CallPrice,
}

impl CallReader {
    fn new(app: &App) -> Self {
        Self { checker: Checker::of::<ImportedCallObject>(), price: app.services.config.call_price }
    }

    fn read(&self, line: Value, now: DateTime<Utc>) -> std::result::Result<NewCall, Invalid> {
        let mut line = line;
        self.checker.check(&mut line).map_err(in_line)?;
        if !line["phone_number"].as_str().is_some_and(phone_number::is_valid) {
            return Err(Invalid::new("phone_number", phone_number::ISSUE));
        }
        let canonical = strict_json::canonical(&line);
        let call = ImportedCallObject::parse_from_json(Some(line))
            .map_err(|error| Invalid::new("line", error.into_message()))?;
        check_phrases("emotions", &call.emotions)?;
        check_phrases("key_phrases", &call.key_phrases)?;
        let created_at = call.created_at.map(|time| possible(time, now)).transpose()?;
        let import_key = match (&call.external_id, created_at) {
            (Some(id), _) => Some(format!("id:{id}")),
            (None, Some(_)) => Some(format!("line:{}", hex::encode(Sha256::digest(canonical)))),
            // Nothing tells it from another such call.
            (None, None) => None,
        };
        let duration_seconds = call.duration_seconds.unwrap_or(0);
        let log = CallLog {
            agent: call.agent_id.map(AgentId::from),
            campaign: call.campaign_id.map(CampaignId::from),
            external_id: call.external_id,
            phone_number: Some(call.phone_number),
            status: call.status.into(),
            duration_seconds,
            sentiment: call.sentiment.map(Into::into),
            emotions: call.emotions.unwrap_or_default(),
            key_phrases: call.key_phrases.unwrap_or_default(),
            transcript: call.transcript,
            summary: call.summary,
            cost: call.cost.map_or_else(|| self.price.cost_of(duration_seconds), Cost::of),
            recording: call.recording_file_id.map(FileId::from),
            job: None,
            created_at: created_at.unwrap_or(now).trunc_subsecs(6),
        };
        Ok(NewCall { log, import_key })
    }
}

fn check_phrases(field: &str, phrases: &Option<Vec<String>>) -> std::result::Result<(), Invalid> {
    let fits = |phrase: &String| !phrase.trim().is_empty() && phrase.chars().count() <= LONGEST_PHRASE;
    match phrases.iter().flatten().all(fits) {
        true => Ok(()),
        false => Err(Invalid::new(field, format!("each must have 1 to {LONGEST_PHRASE} characters"))),
    }
}

/// A clock that is a day wrong is not unheard of.
fn possible(time: DateTime<Utc>, now: DateTime<Utc>) -> std::result::Result<DateTime<Utc>, Invalid> {
    match (DateTime::UNIX_EPOCH..=now + TimeDelta::days(1)).contains(&time) {
        true => Ok(time),
        false => Err(Invalid::new("created_at", "must lie between 1970 and tomorrow")),
    }
}

impl<'a> ApiExtractor<'a> for SentCalls {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        ImportedCallObject::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let table = MetaSchema {
            description: Some("UTF-8, with a first line that names the columns"),
            ..MetaSchema::new("string")
        };
        let table = MetaSchemaRef::Inline(Box::new(table));
        Some(MetaRequest {
            description: None,
            content: vec![
                MetaMediaType { content_type: "text/csv", schema: table },
                MetaMediaType {
                    content_type: "application/x-ndjson",
                    schema: ImportedCallObject::schema_ref(),
                },
            ],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let content_type = request.content_type().unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let format = match essence.as_str() {
            "text/csv" | "application/csv" => Format::Csv,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/json-lines"
            | "application/x-jsonlines" => Format::JsonLines,
            _ => {
                let message = "The calls must be sent as text/csv or application/x-ndjson";
                return Err(ApiError::unsupported(message).into());
            }
        };
        Ok(Self { body: body.take()?, format, length: content_length(request) })
    }
}
