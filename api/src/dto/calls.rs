//! Call logs, their recordings, and what they add up to.

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use storage::calls::{Call, CallLog, Phrase, Tally};
use storage::files::File;
use storage::page::{Counted, Slice};
use uuid::Uuid;

use super::time::Timestamp;
use crate::app::Links;

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", remote = "storage::calls::CallStatus")]
pub(crate) enum CallStatus {
    Queued,
    InProgress,
    Completed,
    Failed,
    NoAnswer,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "storage::calls::Sentiment")]
pub(crate) enum Sentiment {
    Positive,
    Neutral,
    Negative,
}

/// A call as a list shows it.
#[derive(Object)]
pub(crate) struct CallSummary {
    id: Uuid,
    external_id: Option<String>,
    agent_id: Option<Uuid>,
    campaign_id: Option<Uuid>,
    phone_number: Option<String>,
    status: CallStatus,
    duration_seconds: u32,
    sentiment: Option<Sentiment>,
    emotions: Vec<String>,
    /// Of a long one the first 1,000 characters; the call itself has all.
    transcript: Option<String>,
    cost: f64,
    /// When the call took place.
    created_at: Timestamp,
}

/// One page of calls, newest first.
#[derive(Object)]
pub(crate) struct CallPage {
    /// Of all that the filters let through.
    total: u64,
    skip: u64,
    limit: u64,
    items: Vec<CallSummary>,
}

#[derive(Object)]
#[oai(rename = "CallLog")]
pub(crate) struct CallLogObject {
    id: Uuid,
    /// What the owner's own system calls it.
    external_id: Option<String>,
    agent_id: Option<Uuid>,
    campaign_id: Option<Uuid>,
    phone_number: Option<String>,
    status: CallStatus,
    duration_seconds: u32,
    transcript: Option<String>,
    summary: Option<String>,
    sentiment: Option<Sentiment>,
    emotions: Vec<String>,
    key_phrases: Vec<String>,
    /// Gives the recording without a header, for 15 minutes; null where there is none.
    recording_url: Option<String>,
    /// A page for people, without a header, for 15 minutes.
    report_url: String,
    cost: f64,
    /// Of the cost: an ISO 4217 code.
    currency: String,
    /// The job that heard the call.
    job_id: Option<Uuid>,
    /// When the call took place.
    created_at: Timestamp,
}

/// What one line of an import says.
#[derive(Object)]
#[oai(rename = "ImportedCall")]
pub(crate) struct ImportedCallObject {
    /// What your own system calls it. Of calls with the same one the first is kept.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) external_id: Option<String>,
    /// As in E.164: `+`, then 2 to 15 digits.
    #[oai(validator(max_length = 16, pattern = r"^\+[1-9]\d{1,14}$"))]
    pub(crate) phone_number: String,
    pub(crate) status: CallStatus,
    /// 0 where absent.
    #[oai(validator(minimum(value = "0"), maximum(value = "86400")))]
    pub(crate) duration_seconds: Option<u32>,
    /// One of yours; that of the campaign where absent.
    pub(crate) agent_id: Option<Uuid>,
    /// One of yours.
    pub(crate) campaign_id: Option<Uuid>,
    pub(crate) sentiment: Option<Sentiment>,
    #[oai(validator(max_items = 30))]
    pub(crate) emotions: Option<Vec<String>>,
    #[oai(validator(max_items = 100))]
    pub(crate) key_phrases: Option<Vec<String>>,
    #[oai(validator(max_length = 200_000))]
    pub(crate) transcript: Option<String>,
    #[oai(validator(max_length = 10_000))]
    pub(crate) summary: Option<String>,
    /// In the server's currency; what the duration costs where absent.
    #[oai(validator(minimum(value = "0"), maximum(value = "100000")))]
    pub(crate) cost: Option<f64>,
    /// A WAV file of yours.
    pub(crate) recording_file_id: Option<Uuid>,
    /// When the call took place; now where absent.
    pub(crate) created_at: Option<DateTime<Utc>>,
}

/// What became of an import.
#[derive(Default, Object)]
pub(crate) struct ImportReport {
    /// Calls that are new.
    pub(crate) imported: u64,
    /// Calls that were imported before, and stay as they are.
    pub(crate) duplicates: u64,
    /// Lines that were refused.
    pub(crate) failed: u64,
    /// Why; of the first 100 of them.
    pub(crate) errors: Vec<LineError>,
}

#[derive(Object)]
pub(crate) struct LineError {
    /// From 1, where the line begins.
    pub(crate) line: u64,
    pub(crate) field: String,
    pub(crate) issue: String,
}

#[derive(Object)]
#[oai(rename = "CallRecording")]
pub(crate) struct RecordingObject {
    call_id: Uuid,
    /// Of the file, to the nearest second.
    duration_seconds: u64,
    /// Always `wav`.
    format: String,
    size_bytes: u64,
    /// Works without a header, for 15 minutes.
    download_url: String,
    transcript: Option<String>,
    metadata: RecordingMetadata,
}

/// The call that was recorded.
#[derive(Object)]
struct RecordingMetadata {
    agent_id: Option<Uuid>,
    campaign_id: Option<Uuid>,
    phone_number: Option<String>,
}

#[derive(Object)]
pub(crate) struct CallStatistics {
    total_calls: u64,
    completed_calls: u64,
    failed_calls: u64,
    /// Of all calls, to the nearest second.
    average_duration: u64,
    /// How many of a hundred calls were completed.
    success_rate: f64,
    cost_per_call: f64,
    /// Of the cost: an ISO 4217 code.
    currency: String,
}

/// Calls by sentiment. Those without one are in no figure.
#[derive(Object)]
pub(crate) struct SentimentAnalysis {
    positive: u64,
    neutral: u64,
    negative: u64,
    positive_percentage: f64,
    neutral_percentage: f64,
    negative_percentage: f64,
}

#[derive(Object)]
pub(crate) struct TopPhrase {
    /// In small letters.
    phrase: String,
    /// The calls that have it.
    count: u64,
    /// How many of a hundred calls have it.
    frequency: f64,
}

/// The pages of one call, signed.
pub(crate) fn download_path(id: Uuid) -> String {
    format!("/call-recordings/{id}/download")
}

impl CallPage {
    pub(crate) fn new(calls: Counted<Call>, slice: &Slice) -> Self {
        let items = calls.items.into_iter().map(CallSummary::from).collect();
        Self { total: calls.total, skip: slice.skip, limit: slice.limit, items }
    }
}

impl From<Call> for CallSummary {
    fn from(call: Call) -> Self {
        let CallLog { agent, campaign, external_id, phone_number, .. } = call.log;
        Self {
            id: call.id.into(),
            external_id,
            agent_id: agent.map(Uuid::from),
            campaign_id: campaign.map(Uuid::from),
            phone_number,
            status: call.log.status.into(),
            duration_seconds: call.log.duration_seconds,
            sentiment: call.log.sentiment.map(Into::into),
            emotions: call.log.emotions,
            transcript: call.log.transcript,
            cost: call.log.cost.amount(),
            created_at: call.log.created_at.into(),
        }
    }
}

impl CallLogObject {
    pub(crate) fn new(call: Call, currency: &str, links: &Links) -> Self {
        let now = Utc::now();
        let (id, log) = (Uuid::from(call.id), call.log);
        Self {
            id,
            external_id: log.external_id,
            agent_id: log.agent.map(Uuid::from),
            campaign_id: log.campaign.map(Uuid::from),
            phone_number: log.phone_number,
            status: log.status.into(),
            duration_seconds: log.duration_seconds,
            transcript: log.transcript,
            summary: log.summary,
            sentiment: log.sentiment.map(Into::into),
            emotions: log.emotions,
            key_phrases: log.key_phrases,
            recording_url: log.recording.map(|_| links.signed(&download_path(id), now)),
            report_url: links.signed(&format!("/call-logs/{id}/report"), now),
            cost: log.cost.amount(),
            currency: currency.to_owned(),
            job_id: log.job.map(Uuid::from),
            created_at: log.created_at.into(),
        }
    }
}

impl RecordingObject {
    pub(crate) fn new(call: Call, file: &File, links: &Links) -> Self {
        let (id, log) = (Uuid::from(call.id), call.log);
        let seconds = file.media.as_ref().map_or(0.0, |media| media.duration_seconds);
        Self {
            call_id: id,
            duration_seconds: seconds.round() as u64,
            format: "wav".to_owned(),
            size_bytes: file.size_bytes,
            download_url: links.signed(&download_path(id), Utc::now()),
            transcript: log.transcript,
            metadata: RecordingMetadata {
                agent_id: log.agent.map(Uuid::from),
                campaign_id: log.campaign.map(Uuid::from),
                phone_number: log.phone_number,
            },
        }
    }
}

impl CallStatistics {
    pub(crate) fn new(tally: &Tally, currency: &str) -> Self {
        let calls = tally.total.max(1);
        // To the nearest second and millionth.
        let micros = (tally.cost_micros + calls as i64 / 2) / calls as i64;
        Self {
            total_calls: tally.total,
            completed_calls: tally.completed,
            failed_calls: tally.failed,
            average_duration: (tally.duration_seconds + calls / 2) / calls,
            success_rate: percentage(tally.completed, tally.total),
            cost_per_call: storage::calls::Cost { micros }.amount(),
            currency: currency.to_owned(),
        }
    }
}

impl From<Tally> for SentimentAnalysis {
    fn from(tally: Tally) -> Self {
        let Tally { positive, neutral, negative, .. } = tally;
        let all = positive + neutral + negative;
        Self {
            positive,
            neutral,
            negative,
            positive_percentage: percentage(positive, all),
            neutral_percentage: percentage(neutral, all),
            negative_percentage: percentage(negative, all),
        }
    }
}

impl TopPhrase {
    /// `calls` are all of them.
    pub(crate) fn new(phrase: Phrase, calls: u64) -> Self {
        Self { frequency: percentage(phrase.calls, calls), count: phrase.calls, phrase: phrase.phrase }
    }
}

/// With one decimal; 0.0 of nothing.
fn percentage(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => (part as f64 * 1000.0 / whole as f64).round() / 10.0,
    }
}

#[cfg(test)]
mod tests {
    use super::percentage;

    #[test]
    fn percentages_have_one_decimal() {
        assert_eq!(
            [(234, 1250), (1200, 1250), (1, 3), (0, 5), (0, 0)].map(|(part, whole)| percentage(part, whole)),
            [18.7, 96.0, 33.3, 0.0, 0.0]
        );
    }
}
