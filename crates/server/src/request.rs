//! Captions the photos of a request and returns JSON.

use crate::models::{Search, Work};
use crate::photo::Photo;
use crate::problem::Problem;
use crate::queue::{CaptionResult, Update};
use crate::record::{AttentionGrid, FailedRecord, Origin, Record};
use crate::service::{Service, Waiting};
use crate::upload::Upload;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

/// Settings for the photos of a request.
#[derive(Clone)]
pub(crate) struct CaptionRequest {
    pub(crate) service: Arc<Service>,
    pub(crate) search: Search,
    /// The confidence below which a sentence is not sure, instead of the model's threshold.
    pub(crate) min_confidence: Option<f32>,
    /// Whether records have the other sentences of the search.
    pub(crate) alternatives: bool,
    /// Whether records have the attention at each word.
    pub(crate) attention: bool,
    /// Whether words are sent as they are found.
    pub(crate) follow: bool,
}

/// The JSON record of a photo, or the problem with it.
pub(crate) type Answer = Result<Box<RawValue>, Problem>;

impl CaptionRequest {
    /// Captions a photo. With `follow`, `so_far` receives the sentence as it grows.
    pub(crate) async fn caption(
        &self,
        photo: Photo,
        place: OwnedSemaphorePermit,
        mut so_far: impl FnMut(String),
    ) -> Answer {
        let name = photo.name.clone();
        let mut waiting = self.service.submit(photo, place, Work::Caption(self.search), self.follow).await?;
        loop {
            match waiting.updates.recv().await {
                Some(Update::SoFar(words)) => so_far(words),
                Some(Update::Done(result)) => return self.to_json(name, &waiting, *result),
                Some(Update::Failed(problem)) => return Err(problem),
                Some(Update::Encoded(_)) | None => return Err(Problem::internal()),
            }
        }
    }

    fn to_json(&self, name: String, waiting: &Waiting, result: CaptionResult) -> Answer {
        let CaptionResult { mut caption, grid, adapter } = result;
        caption.timings.preprocess = waiting.preprocess;
        if let Some(least) = self.min_confidence {
            caption.is_sure = caption.confidence.is_none_or(|confidence| confidence >= least);
        }
        let manifest = self.service.models.get(self.search.model).manifest();
        let origin = Origin { model: &manifest.name, adapter: &adapter };
        let mut record = Record::new(name.into(), waiting.size, &caption, waiting.decode, origin);
        if !self.alternatives {
            record.alternatives = None;
        }
        if let Some([rows, columns]) = grid.filter(|_| self.attention) {
            let area = manifest.preprocess.seen_area(waiting.size);
            record = record.with_attention(&caption, AttentionGrid { rows, columns, area });
        }
        json(&record)
    }
}

/// A value in JSON.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    serde_json::value::to_raw_value(value).map_err(|_| Problem::internal())
}

/// The record of a photo without a caption.
pub(crate) fn failed(name: String, problem: &Problem) -> Answer {
    json(&FailedRecord::new(name.into(), &problem.of_photo()))
}

/// A request that answers each of its photos.
pub(crate) trait PerPhoto: Clone + Send + Sync + 'static {
    /// The answer for a photo.
    fn answer(&self, photo: Photo, place: OwnedSemaphorePermit) -> impl Future<Output = Answer> + Send;
}

impl PerPhoto for CaptionRequest {
    async fn answer(&self, photo: Photo, place: OwnedSemaphorePermit) -> Answer {
        self.caption(photo, place, |_| {}).await
    }
}

/// Answers photos concurrently; returns names and answers in order. Dropping the future cancels the photos.
async fn all(
    request: impl PerPhoto,
    upload: Upload,
    mut places: OwnedSemaphorePermit,
) -> Vec<(String, Answer)> {
    let names: Vec<String> = upload.photos.iter().map(|photo| photo.name.clone()).collect();
    let mut tasks = JoinSet::new();
    for (index, photo) in upload.photos.into_iter().enumerate() {
        let (request, place) = (request.clone(), places.split(1));
        tasks.spawn(async move {
            let answer = match place {
                Some(place) => request.answer(photo, place).await,
                None => Err(Problem::internal()),
            };
            (index, answer)
        });
    }
    let mut answers: Vec<(String, Answer)> =
        names.into_iter().map(|name| (name, Err(Problem::internal()))).collect();
    while let Some(done) = tasks.join_next().await {
        if let Ok((index, answer)) = done {
            answers[index].1 = answer;
        }
    }
    answers
}

/// The response to a request: an object for a photo alone in the body, an array for a form. If no photo has an answer, the problem of
/// the first one.
pub(crate) async fn respond(
    request: impl PerPhoto,
    upload: Upload,
    places: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let is_form = upload.is_form;
    let mut answers = all(request, upload, places).await;
    if !is_form || answers.iter().all(|(_, answer)| answer.is_err()) {
        let first = answers.drain(..1).next().map_or_else(|| Err(Problem::internal()), |(_, answer)| answer);
        return Ok(Json(first?).into_response());
    }
    let records: Vec<_> = answers
        .into_iter()
        .map(|(name, answer)| answer.or_else(|problem| failed(name, &problem)))
        .collect::<Result<_, _>>()?;
    Ok(Json(records).into_response())
}
