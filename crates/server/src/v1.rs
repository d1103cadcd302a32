//! `/v1/caption` and `/v1/models`.

use crate::models::{Decoder, ModelInfo, truncated};
use crate::problem::Problem;
use crate::record::{PhotoError, Record};
use crate::request::{CaptionRequest, respond};
use crate::service::Service;
use crate::stream;
use crate::upload::Upload;
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use serde::Serialize;
use shadetell::CaptionOptions;
use shadetell::weights::DecoderFamily;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Parameters of a request, in the query or in fields of the form.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what `Choices` reads")]
pub(crate) struct CaptionQuery {
    /// A model's name, as `/v1/models` lists them.
    #[param(required = false)]
    model: Option<String>,
    /// A decoder of the model.
    #[param(required = false, inline)]
    decoder: Option<Decoder>,
    /// The number of hypotheses in the beam; 1 is greedy search.
    #[param(required = false, minimum = 1, maximum = 32)]
    beam: Option<u32>,
    /// The confidence, from 0 to 1, below which `sure` is false; the model's threshold if absent.
    #[param(required = false, minimum = 0, maximum = 1)]
    min_confidence: Option<f32>,
    /// Whether the answer has alternative sentences: `true`, the default, or `false`.
    #[param(required = false)]
    alternatives: Option<bool>,
    /// Whether the answer has the attention of each word: `true`, or `false`, the default.
    #[param(required = false)]
    attention: Option<bool>,
}

/// A form with photos.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what `Upload` reads")]
pub(crate) struct CaptionForm {
    /// One photo or more; files in fields of any other name are photos too.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1, content_media_type = "application/octet-stream")]
    image: Vec<Vec<u8>>,
}

/// A photo, or several, in base64 or as data URLs. Other members are parameters, as in the query.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what `Upload` reads")]
pub(crate) struct CaptionJson {
    /// A photo; the answer is an object.
    #[schema(required = false, nullable = false, example = "data:image/jpeg;base64,/9j/4AAQSkZJRg...")]
    image: Option<String>,
    /// Several photos; the answer is an array.
    #[schema(required = false, nullable = false)]
    images: Option<Vec<String>>,
}

/// The bytes of a photo.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "describes a body")]
pub(crate) struct PhotoFile(Vec<u8>);

/// Parameters of a request.
#[derive(Clone, Debug, PartialEq)]
struct Choices {
    model: Option<String>,
    decoder: Option<DecoderFamily>,
    beam: Option<usize>,
    min_confidence: Option<f32>,
    alternatives: bool,
    attention: bool,
}

impl Choices {
    fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Choices, Problem> {
        let mut choices = Choices {
            model: None,
            decoder: None,
            beam: None,
            min_confidence: None,
            alternatives: true,
            attention: false,
        };
        for (name, value) in pairs {
            let wrong = |expected: &str| {
                Problem::bad_request(format!("{name}: expected {expected}, found {}", truncated(&value)))
            };
            let flag = || value.parse().map_err(|_| wrong("true or false"));
            match name.as_str() {
                "model" => choices.model = Some(value),
                "decoder" => {
                    let found = DecoderFamily::ALL.into_iter().find(|family| family.name() == value);
                    let names = DecoderFamily::ALL.map(DecoderFamily::name).join(", ");
                    choices.decoder = Some(found.ok_or_else(|| wrong(&format!("one of {names}")))?);
                }
                "beam" => {
                    let range = 1..=CaptionOptions::MAX_BEAM;
                    let beam = value.parse().ok().filter(|beam| range.contains(beam));
                    let expected = format!("a whole number from 1 to {}", range.end());
                    choices.beam = Some(beam.ok_or_else(|| wrong(&expected))?);
                }
                "min_confidence" => {
                    let least = value.parse().ok().filter(|least| (0.0..=1.0f32).contains(least));
                    choices.min_confidence = Some(least.ok_or_else(|| wrong("a number from 0 to 1"))?);
                }
                "alternatives" => choices.alternatives = flag()?,
                "attention" => choices.attention = flag()?,
                other => {
                    return Err(Problem::bad_request(format!(
                        "expected model, decoder, beam, min_confidence, alternatives or attention, found {}",
                        truncated(other)
                    )));
                }
            }
        }
        Ok(choices)
    }
}

/// The pairs of a query.
pub(crate) fn query(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let query = Query::try_from_uri(uri);
    query.map(|Query(pairs)| pairs).map_err(|error| Problem::bad_request(error.body_text()))
}

/// Whether a client accepts events, and lists them before every type that includes JSON.
fn prefers_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(|part| part.trim().to_lowercase());
        let media_type = parts.next().unwrap_or_default();
        let is_refused = parts
            .any(|part| part.strip_prefix("q=").and_then(|quality| quality.parse::<f32>().ok()) == Some(0.0));
        match media_type.as_str() {
            _ if is_refused => {}
            "text/event-stream" => return true,
            "application/json" | "application/*" | "*/*" => return false,
            _ => {}
        }
    }
    false
}

/// The answer for one photo or several.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) enum CaptionAnswer {
    /// For a photo alone in the body.
    One(Box<Record<'static>>),
    /// For a form: a record for each photo, in order. A photo that failed has an error in its record.
    Several(Vec<CaptionRecord>),
}

/// One of several photos.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) enum CaptionRecord {
    Captioned(Box<Record<'static>>),
    Failed(Failed),
}

/// One of several photos, without an answer of its own.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) struct Failed {
    path: String,
    error: PhotoError,
}

/// Captions photos.
///
/// If the body is a photo, or JSON with `image`, the answer is an object. If it is a form, or JSON with `images`, the answer is an
/// array in their order. If none of them can be captioned, the answer is the problem of the first one. Except for forms, the content
/// tells what a body is, whatever its media type.
///
/// With `Accept: text/event-stream`, if it is listed before every type that includes JSON, the words are sent as a GPU finds them:
/// events `words` with `{"photo": 0, "caption": "a man"}`, the best sentence so far, which may still change if the beam is wider
/// than 1; then for each photo an event `caption` with its record, or an event `error`.
#[utoipa::path(post, path = "/v1/caption", tag = "captions",
    params(CaptionQuery),
    request_body(content(
        (PhotoFile = "image/jpeg"), (PhotoFile = "image/png"), (PhotoFile = "image/webp"), (PhotoFile = "image/gif"),
        (PhotoFile = "image/bmp"), (PhotoFile = "image/tiff"), (PhotoFile = "application/octet-stream"),
        (CaptionForm = "multipart/form-data"), (CaptionJson = "application/json"),
    )),
    responses(
        (status = 200, description = "Captions", content((CaptionAnswer = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "A wrong parameter or form", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The request comes from a page of another origin", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body took too long", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes, pixels or photos", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not a photo", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "The name in `Host` is not the server's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A damaged photo, or a search that is too large for the device", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many photos are waiting", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "An error in the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The device was lost, or the server is stopping", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn caption(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut pairs = query(&uri)?;
    // An invalid query is refused before the body is read.
    Choices::of(pairs.iter().cloned())?;
    let mut upload = Upload::read(&service, &headers, body).await?;
    pairs.append(&mut upload.fields);
    let choices = Choices::of(pairs)?;
    let search = service.models.search(choices.model.as_deref(), choices.decoder, choices.beam)?;
    let places = service.places(upload.photos.len())?;
    let follow = prefers_events(&headers);
    let Choices { min_confidence, alternatives, attention, .. } = choices;
    let request = CaptionRequest { service, search, min_confidence, alternatives, attention, follow };
    if follow {
        return Ok(stream::answer(request, upload, places));
    }
    respond(request, upload, places).await
}

/// The available models.
#[utoipa::path(get, path = "/v1/models", tag = "captions", responses(
    (status = 200, body = Vec<ModelInfo>),
    (status = 401, description = "The token is missing", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn models(State(service): State<Arc<Service>>) -> Json<Vec<ModelInfo>> {
    Json(service.models.list())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn choices(pairs: &[(&str, &str)]) -> Result<Choices, String> {
        let pairs = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Choices::of(pairs).map_err(|problem| problem.detail)
    }

    #[test]
    fn the_last_of_repeated_parameters_is_used() {
        let found = choices(&[("beam", "3"), ("decoder", "show-tell"), ("beam", "5"), ("attention", "true")]);
        let found = found.unwrap();
        assert_eq!((found.beam, found.decoder), (Some(5), Some(DecoderFamily::ShowTell)));
        assert!(found.attention && found.alternatives);
    }

    #[test]
    fn the_first_accepted_media_type_is_used() {
        let prefers = |lines: &[&'static str]| {
            let value = |line: &&'static str| (header::ACCEPT, HeaderValue::from_static(line));
            prefers_events(&lines.iter().map(value).collect())
        };
        assert!(prefers(&["text/event-stream"]) && prefers(&["Text/Event-Stream;q=0.5, application/json"]));
        assert!(prefers(&["text/html", "text/event-stream", "*/*"]));
        assert!(prefers(&["application/json;q=0, text/event-stream"]));
        for json in [
            "",
            "*/*",
            "application/json, text/event-stream",
            "application/*, text/event-stream",
            "text/event-stream;q=0.0",
            "text/event-stream; Q=0, */*",
            "text/event-streams",
        ] {
            assert!(!prefers(&[json]), "{json}");
        }
        assert!(!prefers(&[]));
    }

    #[test]
    fn the_error_of_an_invalid_parameter_states_the_expected_values() {
        for (name, value, message) in [
            ("beam", "0", "beam: expected a whole number from 1 to 32, found \"0\""),
            ("beam", "-1", "beam: expected a whole number from 1 to 32, found \"-1\""),
            (
                "decoder",
                "",
                "decoder: expected one of show-tell, show-attend-tell, semantic-attention, found \"\"",
            ),
            (
                "decoder",
                "tell",
                "decoder: expected one of show-tell, show-attend-tell, semantic-attention, found \"tell\"",
            ),
            ("attention", "yes", "attention: expected true or false, found \"yes\""),
            ("min_confidence", "2", "min_confidence: expected a number from 0 to 1, found \"2\""),
            ("min_confidence", "NaN", "min_confidence: expected a number from 0 to 1, found \"NaN\""),
            (
                "beams",
                "3",
                "expected model, decoder, beam, min_confidence, alternatives or attention, found \"beams\"",
            ),
        ] {
            assert_eq!(choices(&[(name, value)]).unwrap_err(), message);
        }
        let long = choices(&[("decoder", &"x".repeat(100_000))]).unwrap_err();
        assert!(long.len() < 200, "{long}");
    }
}
