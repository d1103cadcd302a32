//! Errors of the API: problem details (RFC 9457).

use crate::record::PhotoError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shadetell::image::ImageError;
use shadetell::{Cause, Error, image};
use utoipa::ToSchema;

/// The reason why a request failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status and the code identify the problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub(crate) status: u16,
    /// A stable name, which stays the same when the detail is reworded.
    pub(crate) code: &'static str,
    /// What was expected, what was found, and what to do.
    pub(crate) detail: String,
    /// The detail again, for clients of IBM's MAX services.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
    /// The number of seconds after which to try again.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            message: None,
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Problem {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The same for a client of a MAX service, which expects status 400 for all invalid pictures.
    pub(crate) fn for_max(mut self) -> Problem {
        if matches!(self.status, 415 | 422) {
            self = Problem { status: 400, title: "Bad Request", ..self };
        }
        self.message = Some(self.detail.clone());
        self
    }

    /// A panic of the engine, which is a bug.
    pub(crate) fn internal() -> Problem {
        let detail = "the engine failed on this request and was restarted; the log has details";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(crate) fn stopping() -> Problem {
        let detail = "the server is stopping; try again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).retry_after(10)
    }

    /// The same problem for the record of a photo.
    pub(crate) fn of_photo(&self) -> PhotoError {
        PhotoError { code: self.code, message: self.detail.clone() }
    }
}

impl From<&ImageError> for Problem {
    fn from(error: &ImageError) -> Problem {
        let status = match error {
            ImageError::TooManyPixels { .. }
            | ImageError::TooManyBytes { .. }
            | ImageError::OutOfMemory { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ImageError::NotAnImage { .. } | ImageError::UnsupportedFormat { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, error.code(), error.to_string())
    }
}

impl From<image::ImageError> for Problem {
    fn from(error: ImageError) -> Problem {
        Problem::from(&error)
    }
}

/// An error of captioning a photo that was decoded.
impl From<&Error> for Problem {
    fn from(error: &Error) -> Problem {
        let PhotoError { code, message } = PhotoError::of_engine(error);
        if let Error::Image(error) = error {
            return Problem::from(error);
        }
        match error.cause() {
            Cause::Busy | Cause::DeviceLost | Cause::OutOfMemory | Cause::Unavailable => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(2)
            }
            Cause::InvalidInput => Problem::new(StatusCode::BAD_REQUEST, code, message),
            // The requested search is too large for the device.
            Cause::Limit => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message),
            _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, message),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadetell::engine::gpu::GpuError;

    #[test]
    fn statuses_follow_causes() {
        let text = String::new;
        let table = [
            (GpuError::Busy(text()), 503, "busy"),
            (GpuError::DeviceLost(text()), 503, "device_lost"),
            (GpuError::OutOfMemory(text()), 503, "gpu_out_of_memory"),
            (GpuError::NoAdapter { backends: text() }, 503, "gpu"),
            (GpuError::InvalidInput(text()), 400, "gpu"),
            (GpuError::LimitTooLow { limit: "maxBufferSize", need: 2, have: 1, advice: "" }, 422, "gpu"),
            (GpuError::Internal(text()), 500, "gpu"),
        ];
        for (error, status, code) in table {
            let problem = Problem::from(&Error::from(error.clone()));
            assert_eq!((problem.status, problem.code), (status, code), "{error:?}");
            assert_eq!(problem.retry_after.is_some(), status == 503, "{error:?}");
        }
        assert_eq!(Problem::from(&Error::from(ImageError::EmptyFile)).status, 422);
    }
}
