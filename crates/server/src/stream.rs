//! Words as they are found, as server-sent events.

use crate::problem::Problem;
use crate::request::{Answer, CaptionRequest, failed};
use crate::upload::Upload;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

/// Events of all photos as they happen. Dropping the stream cancels the photos.
struct Events {
    events: UnboundedReceiver<Event>,
    /// Stops when it is dropped.
    _work: JoinSet<()>,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// Captions the photos and sends words as they are found.
pub(crate) fn answer(request: CaptionRequest, upload: Upload, mut places: OwnedSemaphorePermit) -> Response {
    let (sender, events) = unbounded_channel();
    let mut tasks = JoinSet::new();
    for (index, photo) in upload.photos.into_iter().enumerate() {
        let (request, place, sender) = (request.clone(), places.split(1), sender.clone());
        tasks.spawn(async move {
            let name = photo.name.clone();
            // The client may have disconnected, here and below.
            let so_far = |words: String| {
                let data = json!({ "photo": index, "caption": words }).to_string();
                let _ = sender.send(Event::default().event("words").data(data));
            };
            let answer = match place {
                Some(place) => request.caption(photo, place, so_far).await,
                None => Err(Problem::internal()),
            };
            let _ = sender.send(last(name, answer));
        });
    }
    Sse::new(Events { events, _work: tasks }).keep_alive(KeepAlive::default()).into_response()
}

/// The last event of a photo.
fn last(name: String, answer: Answer) -> Event {
    let (kind, record) = match answer {
        Ok(record) => ("caption", Ok(record)),
        Err(problem) => ("error", failed(name, &problem)),
    };
    Event::default().event(kind).data(record.map(|record| record.get().to_owned()).unwrap_or_default())
}
