//! What a store answers, in sentences without keys, signatures and URLs.

use crate::error::Error;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the object store answered {status} {code} to {operation}")]
    Refused { operation: &'static str, status: u16, code: String },
    #[error("the object store did not answer {operation} in time")]
    Late { operation: &'static str },
    #[error("the object store could not be reached for {operation}: {reason}")]
    Unreachable { operation: &'static str, reason: String },
    #[error("the object store gave no proper answer to {operation}")]
    Unclear { operation: &'static str },
}

/// [`Error::NotFound`] for an object that is not there, and [`Error::Full`] where the store has no room.
pub(super) fn failed<E>(operation: &'static str, cause: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata,
{
    match cause.code() {
        Some("NoSuchKey") => Error::NotFound,
        Some("QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull") => Error::Full,
        Some(_) | None => Error::internal(describe(operation, &cause)),
    }
}

pub(super) fn describe<E>(operation: &'static str, cause: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata,
{
    match cause {
        SdkError::TimeoutError(_) => Failure::Late { operation },
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => Failure::Late { operation },
        SdkError::DispatchFailure(dispatch) => {
            let reason = dispatch.as_connector_error().map_or_else(String::new, |error| innermost(error));
            Failure::Unreachable { operation, reason }
        }
        SdkError::ServiceError(answer) => Failure::Refused {
            operation,
            status: answer.raw().status().as_u16(),
            code: answer.err().code().unwrap_or_default().to_owned(),
        },
        // A request that was never made, an answer that is none, and what later versions add.
        _ => Failure::Unclear { operation },
    }
}

/// Whether an object is there that was to be kept.
pub(super) fn is_taken<E: ProvideErrorMetadata>(cause: &SdkError<E, HttpResponse>) -> bool {
    cause.code() == Some("PreconditionFailed")
}

/// Whether the store does not have what was asked for.
pub(super) fn is_unsupported<E>(cause: &SdkError<E, HttpResponse>) -> bool {
    let status = cause.raw_response().map(|answer| answer.status().as_u16());
    matches!(status, Some(405 | 501))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
