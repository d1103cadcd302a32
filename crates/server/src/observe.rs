//! Counts and logs every request, without its contents.

use crate::service::Service;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;

/// Methods with a label of their own.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// Middleware for every request.
pub(crate) async fn observe(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let clock = Instant::now();
    // Clients can send any method and path: only known ones become labels.
    let known = METHODS.into_iter().find(|&known| request.method() == known);
    let method = known.unwrap_or("OTHER");
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), clock.elapsed());
    service.metrics.request(method, &route, status, took);
    tracing::info!(method, route, status, ms = took.as_micros() as f64 / 1e3, "request");
    response
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"),
    (status = 401, description = "The token is missing", body = super::problem::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let text = service.metrics.text(service.queue.len(), service.accepted(), service.is_ready());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
