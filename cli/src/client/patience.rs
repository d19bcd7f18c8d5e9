//! What is asked again, and for how long: a server that is restarted, a proxy between two of them, or a store that asks
//! for less, is no reason to give up.

use crate::complain;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long failures that may pass are waited out, and of which requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first failure on; after it nothing is begun.
    pub(super) limit: Duration,
    pub(super) repeats: Repeats,
}

/// What a request does that is sent again, when nobody knows whether it was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repeats {
    /// Nothing that was not done the first time, or nothing that matters.
    Harmless,
    /// The same once more. So it is sent again only where it cannot have arrived.
    Another,
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
    /// After how many seconds the same request may pass, where there were too many.
    admitted_after: Option<u64>,
}

/// Nothing moves, and nobody knows what has arrived.
#[derive(Debug)]
pub(super) struct Standstill {
    pub(super) silence: Duration,
}

/// What `attempt` gives once it gives something. Where the server says that there were too many, this waits as long as it
/// says; where it fails in a way that may pass, within `patience`.
pub(super) async fn patiently<T>(
    patience: Patience,
    attempt: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (mut failing_since, mut pause) = (None, FIRST_PAUSE);
    loop {
        let error = match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if let Some(seconds) = refusal(&error).and_then(|refusal| refusal.admitted_after) {
            complain(&format!("the server's rate limit is reached; going on in {seconds} s"));
            sleep(Duration::from_secs(seconds)).await;
            continue;
        }
        let since = *failing_since.get_or_insert_with(Instant::now);
        if !may_pass(&error, patience.repeats) || since.elapsed() + pause > patience.limit {
            return Err(error);
        }
        if pause == FIRST_PAUSE {
            complain(&format!("{error:#}; asking again for {} s", patience.limit.as_secs()));
        }
        // Those that failed together do not come back together.
        sleep(pause.mul_f32(0.5 + rand::random::<f32>() / 2.0)).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// The answer, where it is a success; else it is a [`Refusal`].
pub(super) async fn checked(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let wait = response.headers().get(reqwest::header::RETRY_AFTER);
    let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
    let admitted_after = wait.filter(|_| status == StatusCode::TOO_MANY_REQUESTS);
    let body: Value = response.json().await.unwrap_or_default();
    let message = body["message"].as_str().or(body["detail"].as_str()).unwrap_or("no reason given");
    let text = match body["details"]["field"].as_str() {
        Some(field) => format!("{message} ({field}: {})", body["details"]["issue"].as_str().unwrap_or("")),
        None => message.to_owned(),
    };
    Err(Refusal { status, text, admitted_after }.into())
}

/// Whether no other request would fare better: the server is not reached, fails, or does not know us.
pub(crate) fn is_outage(error: &anyhow::Error) -> bool {
    let lost = error.chain().any(|cause| cause.is::<reqwest::Error>()) || stands_still(error);
    let fails = refusal(error).is_some_and(|refusal| refusal.status.is_server_error());
    lost || fails || is_unknown_to_server(error)
}

/// Whether the server, or the store for it, does not know who asks, or does not any more.
pub(crate) fn is_unknown_to_server(error: &anyhow::Error) -> bool {
    let unknown = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    refusal(error).is_some_and(|refusal| unknown.contains(&refusal.status))
}

/// Whether the server says that there is no such thing.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    refusal(error).is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.status, self.text)
    }
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Standstill {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.silence.as_secs();
        write!(formatter, "the server took no byte and gave no answer for {seconds} seconds")
    }
}

impl std::error::Error for Standstill {}

fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn stands_still(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Standstill>())
}

fn may_pass(error: &anyhow::Error, repeats: Repeats) -> bool {
    let lost = error.chain().find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    match repeats {
        Repeats::Another => lost.is_some_and(reqwest::Error::is_connect),
        Repeats::Harmless => {
            lost.is_some_and(|error| !error.is_builder() && !error.is_redirect())
                || stands_still(error)
                || refusal(error).is_some_and(|refusal| passes(refusal.status))
        }
    }
}

/// Those of a server that is overloaded, stumbles, or is not there at the moment.
fn passes(status: StatusCode) -> bool {
    [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .contains(&status)
}

#[cfg(test)]
mod tests {
    use super::{Duration, Repeats, Standstill, is_outage, may_pass};

    #[test]
    fn what_comes_to_a_standstill_may_be_sent_again_where_that_is_harmless() {
        let error = anyhow::Error::from(Standstill { silence: Duration::from_secs(9) }).context("a part");
        assert!(may_pass(&error, Repeats::Harmless) && is_outage(&error));
        assert!(!may_pass(&error, Repeats::Another));
        assert_eq!(
            error.root_cause().to_string(),
            "the server took no byte and gave no answer for 9 seconds"
        );
    }
}
