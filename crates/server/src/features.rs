//! `/v1/tag` and `/v1/embed`: classes and features of photos.

use crate::models::{Work, truncated};
use crate::photo::Photo;
use crate::problem::Problem;
use crate::queue::{EncodeResult, Update};
use crate::request::{Answer, PerPhoto, json, respond};
use crate::service::Service;
use crate::upload::Upload;
use crate::v1::{CaptionForm, CaptionJson, Failed, PhotoFile, query};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

/// Parameters of `/v1/tag`, in the query or in fields of the form.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what `Choices` reads")]
pub(crate) struct TagQuery {
    /// A model's name, as `/v1/models` lists them.
    #[param(required = false)]
    model: Option<String>,
    /// The number of classes; 5 if not given.
    #[param(required = false, minimum = 1, maximum = 1000)]
    top: Option<u32>,
}

/// Parameters of `/v1/embed`, in the query or in fields of the form.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what `Choices` reads")]
pub(crate) struct EmbedQuery {
    /// A model's name, as `/v1/models` lists them.
    #[param(required = false)]
    model: Option<String>,
    /// Whether the answer is the grid of features instead of their mean: `true`, or `false`, the default.
    #[param(required = false)]
    spatial: Option<bool>,
}

/// The classes of a photo.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagRecord {
    /// The name of the file; `-` if it has none.
    path: String,
    /// The most probable classes, the most probable first.
    classes: Vec<ClassRecord>,
    model: String,
    /// The device that computed it.
    adapter: String,
}

/// A class.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClassRecord {
    /// Its number.
    index: usize,
    name: String,
    probability: f32,
}

/// The features of a photo.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbedRecord {
    /// The name of the file; `-` if it has none.
    path: String,
    /// `[channels]`, or `[rows, columns, channels]` of a grid.
    shape: Vec<usize>,
    /// The numbers, channels innermost.
    features: Vec<f32>,
    model: String,
    /// The device that computed it.
    adapter: String,
}

/// The classes of one photo or several.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) enum TagAnswer {
    /// For a photo alone in the body.
    One(TagRecord),
    /// For a form: a record for each photo, in order. A photo that failed has an error in its record.
    Several(Vec<TagResult>),
}

/// The classes of one of several photos.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) enum TagResult {
    Tagged(TagRecord),
    Failed(Failed),
}

/// The features of one photo or several.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) enum EmbedAnswer {
    /// For a photo alone in the body.
    One(EmbedRecord),
    /// For a form: a record for each photo, in order. A photo that failed has an error in its record.
    Several(Vec<EmbedResult>),
}

/// The features of one of several photos.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes answers")]
pub(crate) enum EmbedResult {
    Embedded(EmbedRecord),
    Failed(Failed),
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Wanted {
    Classes { top: usize },
    Features { spatial: bool },
}

/// Settings for the photos of a request.
#[derive(Clone)]
struct EncodeRequest {
    service: Arc<Service>,
    model: usize,
    wanted: Wanted,
}

impl PerPhoto for EncodeRequest {
    async fn answer(&self, photo: Photo, place: OwnedSemaphorePermit) -> Answer {
        let name = photo.name.clone();
        let grid = matches!(self.wanted, Wanted::Features { spatial: true });
        let work = Work::Encode { model: self.model, grid };
        let mut waiting = self.service.submit(photo, place, work, false).await?;
        match waiting.updates.recv().await {
            Some(Update::Encoded(result)) => self.to_json(name, *result),
            Some(Update::Failed(problem)) => Err(problem),
            _ => Err(Problem::internal()),
        }
    }
}

impl EncodeRequest {
    fn to_json(&self, path: String, result: EncodeResult) -> Answer {
        let EncodeResult { features, classes, grid, adapter } = result;
        let model = self.service.models.get(self.model).manifest().name.clone();
        match self.wanted {
            Wanted::Classes { .. } if classes.is_empty() => {
                let detail = format!("the model {model} has no classifier; choose another model");
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_classifier", detail))
            }
            Wanted::Classes { top } => {
                let class = |class: shadetell::Class| ClassRecord {
                    index: class.index,
                    name: class.name,
                    probability: class.probability,
                };
                let classes = classes.into_iter().take(top).map(class).collect();
                json(&TagRecord { path, classes, model, adapter })
            }
            Wanted::Features { .. } => {
                let (shape, features) = match features.grid {
                    Some(values) => (grid.to_vec(), values),
                    None => (vec![features.embedding.len()], features.embedding),
                };
                json(&EmbedRecord { path, shape, features, model, adapter })
            }
        }
    }
}

/// The model and what is wanted of it, from the pairs of a request; `wanted` is what is asked for without any.
fn choose(mut wanted: Wanted, pairs: &[(String, String)]) -> Result<(Option<String>, Wanted), Problem> {
    let mut model = None;
    for (name, value) in pairs {
        let wrong = |expected: &str| {
            Problem::bad_request(format!("{name}: expected {expected}, found {}", truncated(value)))
        };
        match (name.as_str(), &mut wanted) {
            ("model", _) => model = Some(value.clone()),
            ("top", Wanted::Classes { top }) => {
                let found = value.parse().ok().filter(|top| (1..=1000).contains(top));
                *top = found.ok_or_else(|| wrong("a whole number from 1 to 1000"))?;
            }
            ("spatial", Wanted::Features { spatial }) => {
                *spatial = value.parse().map_err(|_| wrong("true or false"))?;
            }
            (other, wanted) => {
                let known = match wanted {
                    Wanted::Classes { .. } => "model or top",
                    Wanted::Features { .. } => "model or spatial",
                };
                return Err(Problem::bad_request(format!("expected {known}, found {}", truncated(other))));
            }
        }
    }
    Ok((model, wanted))
}

async fn encode(
    service: Arc<Service>,
    usual: Wanted,
    (uri, headers, body): (Uri, HeaderMap, Body),
) -> Result<Response, Problem> {
    let mut pairs = query(&uri)?;
    // An invalid query is refused before the body is read.
    choose(usual, &pairs)?;
    let mut upload = Upload::read(&service, &headers, body).await?;
    pairs.append(&mut upload.fields);
    let (model, wanted) = choose(usual, &pairs)?;
    let model = service.models.index(model.as_deref())?;
    let places = service.places(upload.photos.len())?;
    respond(EncodeRequest { service, model, wanted }, upload, places).await
}

/// The classes of photos.
///
/// Bodies are as for captions: for a photo, or JSON with `image`, the answer is an object; for a form, or JSON with `images`, an array.
#[utoipa::path(post, path = "/v1/tag", tag = "features",
    params(TagQuery),
    request_body(content(
        (PhotoFile = "application/octet-stream"), (CaptionForm = "multipart/form-data"), (CaptionJson = "application/json"),
    )),
    responses(
        (status = 200, description = "Classes", body = TagAnswer),
        (status = "4XX", description = "As for captions", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "As for captions", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn tag(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    encode(service, Wanted::Classes { top: 5 }, (uri, headers, body)).await
}

/// The features of photos, for search and other models.
///
/// Bodies are as for captions: for a photo, or JSON with `image`, the answer is an object; for a form, or JSON with `images`, an array.
#[utoipa::path(post, path = "/v1/embed", tag = "features",
    params(EmbedQuery),
    request_body(content(
        (PhotoFile = "application/octet-stream"), (CaptionForm = "multipart/form-data"), (CaptionJson = "application/json"),
    )),
    responses(
        (status = 200, description = "Features", body = EmbedAnswer),
        (status = "4XX", description = "As for captions", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "As for captions", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn embed(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    encode(service, Wanted::Features { spatial: false }, (uri, headers, body)).await
}
