//! Reads the rest of requests that were answered early.

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// Most bytes that are read and discarded.
const MOST: usize = 4 << 20;
/// The longest time for that.
const LIMIT: Duration = Duration::from_secs(5);

/// A body whose rest is read and discarded when it is dropped. If the connection were closed instead, a client that is still
/// sending would not see its answer.
struct Drained(Body);

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.0 = Body::empty();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let mut body = std::mem::take(&mut self.0);
        // There is no runtime any more when a server ends.
        let Some(runtime) = Handle::try_current().ok().filter(|_| !body.is_end_stream()) else { return };
        runtime.spawn(tokio::time::timeout(LIMIT, async move {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > MOST {
                    break;
                }
            }
        }));
    }
}

/// Middleware for every request.
pub(crate) async fn drain(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Drained(body)))).await
}
