//! The routes of IBM's MAX Image Caption Generator, for its clients.

use crate::models::Work;
use crate::photo::Photo;
use crate::problem::Problem;
use crate::queue::Update;
use crate::service::Service;
use crate::upload::Upload;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A form with one photo.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what `Upload` reads")]
pub(crate) struct PredictForm {
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    image: Vec<u8>,
}

/// Sentences about a photo.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Predictions {
    /// Always `ok`.
    status: &'static str,
    /// Best first.
    predictions: Vec<Prediction>,
}

/// A sentence.
#[derive(Debug, Serialize, ToSchema)]
struct Prediction {
    /// Its place, from 0 on.
    index: String,
    caption: String,
    probability: f64,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Metadata {
    id: String,
    name: String,
    description: String,
    #[serde(rename = "type")]
    kind: &'static str,
    license: String,
    source: &'static str,
}

/// Captions a photo as IBM's MAX Image Caption Generator does.
#[utoipa::path(post, path = "/model/predict", tag = "MAX",
    request_body(content = PredictForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = Predictions),
        (status = 400, description = "Not a photo, or a damaged one", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The request comes from a page of another origin", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body took too long", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes, pixels or photos", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "The name in `Host` is not the server's", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many photos are waiting", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "An error in the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The device was lost, or the server is stopping", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn predict(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Predictions>, Problem> {
    predictions(&service, &headers, body).await.map(Json).map_err(Problem::for_max)
}

async fn predictions(
    service: &Arc<Service>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Predictions, Problem> {
    let upload = Upload::read(service, headers, body).await?;
    let [photo]: [Photo; 1] = upload.photos.try_into().map_err(|photos: Vec<Photo>| {
        Problem::bad_request(format!("expected one photo in the field `image`, found {}", photos.len()))
    })?;
    let search = service.models.search(None, None, None)?;
    let place = service.places(1)?;
    let mut waiting = service.submit(photo, place, Work::Caption(search), false).await?;
    match waiting.updates.recv().await {
        Some(Update::Done(result)) => {
            let caption = result.caption;
            let best = (caption.text, caption.log_prob);
            let others = caption.alternatives.into_iter().map(|other| (other.text, other.log_prob));
            let prediction = |(index, (caption, log_prob)): (usize, (String, f32))| Prediction {
                index: index.to_string(),
                caption,
                probability: f64::from(log_prob).exp(),
            };
            let predictions = std::iter::once(best).chain(others).enumerate().map(prediction).collect();
            Ok(Predictions { status: "ok", predictions })
        }
        Some(Update::Failed(problem)) => Err(problem),
        Some(Update::SoFar(_) | Update::Encoded(_)) | None => Err(Problem::internal()),
    }
}

/// The metadata of the default model.
#[utoipa::path(get, path = "/model/metadata", tag = "MAX", responses(
    (status = 200, body = Metadata),
    (status = 401, description = "The token is missing", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn metadata(State(service): State<Arc<Service>>) -> Json<Metadata> {
    let manifest = service.models.get(0).manifest();
    let decoder = manifest.decoders.first().map_or("", |decoder| decoder.family.name());
    Json(Metadata {
        id: manifest.name.clone(),
        name: manifest.name.clone(),
        description: format!(
            "{} with {decoder}, {} words",
            manifest.encoder.family,
            manifest.vocabulary.len()
        ),
        kind: "Image-to-Text",
        license: manifest.licence.clone().unwrap_or_else(|| "not stated".to_owned()),
        source: concat!("Shade & Tell ", env!("CARGO_PKG_VERSION")),
    })
}
