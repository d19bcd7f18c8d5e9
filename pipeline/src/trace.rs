//! What ties the work of several processes into one trace: the `traceparent` of W3C Trace Context, and the door to whoever
//! exports spans, so that nobody else need know how.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::OnceLock;

use tracing::Span;

/// A span that others may continue. Written as the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: NonZero<u128>,
    pub span_id: NonZero<u64>,
    /// Whether who began the trace keeps it.
    pub sampled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a traceparent such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct InvalidTraceParent;

/// Puts a span that has just begun under `parent`, where there is one, and tells how others may continue that span.
pub type Join = fn(&Span, Option<TraceParent>) -> Option<TraceParent>;

static JOIN: OnceLock<Join> = OnceLock::new();

/// From now on spans are exported, and this is how they are joined. The first call of a process counts.
pub fn join_by(join: Join) {
    JOIN.get_or_init(|| join);
}

/// Puts a span that has just begun under `parent`, and notes the trace in its field `trace_id`. Gives what is told to
/// whoever continues it: the span itself, or `parent` as it came where no spans are exported.
pub fn join(span: &Span, parent: Option<TraceParent>) -> Option<TraceParent> {
    let joined = JOIN.get().and_then(|join| join(span, parent)).or(parent);
    if let Some(here) = joined {
        span.record("trace_id", tracing::field::display(format_args!("{:032x}", here.trace_id)));
    }
    joined
}

/// How others may continue the span that is entered, where spans are exported.
pub fn here() -> Option<TraceParent> {
    JOIN.get().and_then(|join| join(&Span::current(), None))
}

impl fmt::Display for TraceParent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, sampled } = self;
        write!(formatter, "00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(*sampled))
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Reads later versions too, as far as they are like this one.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        parse(text).ok_or(InvalidTraceParent)
    }
}

fn parse(text: &str) -> Option<TraceParent> {
    let mut parts = text.split('-');
    let version = number(parts.next()?, 2)?;
    let trace_id = NonZero::new(number(parts.next()?, 32)?)?;
    let span_id = NonZero::new(u64::try_from(number(parts.next()?, 16)?).ok()?)?;
    let flags = number(parts.next()?, 2)?;
    let is_known = version == 0 && parts.next().is_none();
    let is_later = (1..0xff).contains(&version);
    (is_known || is_later).then_some(TraceParent { trace_id, span_id, sampled: flags & 1 == 1 })
}

/// Of so many digits, all of them lower-case.
fn number(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_well_formed = text.len() == digits && text.bytes().all(is_digit);
    is_well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{InvalidTraceParent, TraceParent};

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(text: &str) -> Result<TraceParent, InvalidTraceParent> {
        text.parse()
    }

    #[test]
    fn what_is_read_is_written_again() {
        let parent = read(EXAMPLE).unwrap();
        assert_eq!(parent.trace_id.get(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span_id.get(), parent.sampled), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(parent.to_string(), EXAMPLE);
        let unsampled = EXAMPLE.replace("-01", "-00");
        assert_eq!(read(&unsampled).unwrap().to_string(), unsampled);
        // Of the flags only one is ours to pass on.
        assert_eq!(read(&EXAMPLE.replace("-01", "-ff")).unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn a_later_version_may_say_more() {
        for later in ["cc-", "01-"] {
            let text = EXAMPLE.replacen("00-", later, 1);
            assert_eq!(read(&text), read(EXAMPLE));
            assert_eq!(read(&format!("{text}-what-comes")), read(EXAMPLE));
            assert_eq!(read(&format!("{text}.what")), Err(InvalidTraceParent));
        }
    }

    #[test]
    fn all_else_is_refused() {
        for text in [
            "",
            "-",
            "00",
            &EXAMPLE[1..],
            &EXAMPLE[..54],
            &format!("{EXAMPLE}-"),
            &format!("{EXAMPLE}-more"),
            &format!(" {EXAMPLE}"),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replacen("00-", "ff-", 1),
            &EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &EXAMPLE.replace("b7ad6b7169203331", &"0".repeat(16)),
            &EXAMPLE.replace("b7ad", "+7ad"),
            &EXAMPLE.replace("b7ad", "b7aé"),
            &EXAMPLE.replace('-', "_"),
            &"0-".repeat(10_000),
        ] {
            assert_eq!(read(text), Err(InvalidTraceParent), "{text}");
        }
    }
}
