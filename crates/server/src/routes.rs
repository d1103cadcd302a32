//! All routes.

use crate::guard::Access;
use crate::problem::Problem;
use crate::service::Service;
use crate::{drain, features, guard, max, observe, openapi, page, v1};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// All routes.
pub(crate) fn router(service: &Arc<Service>, access: Access) -> Router {
    let (api, description) = OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(v1::caption))
        .routes(routes!(features::tag))
        .routes(routes!(features::embed))
        .routes(routes!(v1::models))
        .routes(routes!(max::predict))
        .routes(routes!(max::metadata))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(observe::metrics))
        .split_for_parts();
    let routes = api
        .merge(openapi::routes(&description))
        .merge(page::routes())
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "no_such_route", "this path does not exist; see /docs")
        })
        .method_not_allowed_fallback(|| async {
            let detail = "this path does not support the method; the header `Allow` lists those it supports; see /docs";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(middleware::from_fn_with_state(Arc::new(access), guard::check))
        .layer(middleware::from_fn(page::harden))
        .layer(middleware::from_fn_with_state(Arc::clone(service), observe::observe))
        .layer(middleware::from_fn(drain::drain))
        .with_state(Arc::clone(service));
    // Routes are found by the trimmed path, so this comes before them.
    Router::new().fallback_service(routes).layer(middleware::from_fn(trim))
}

/// Middleware that takes slashes from the end of a path, except where a page is redirected.
async fn trim(mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.ends_with('/') && path.len() > 1 && path != page::DOCS_FOLDER {
        let path = path.trim_end_matches('/');
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = request.uri().clone().into_parts();
        let trimmed = format!("{}{query}", if path.is_empty() { "/" } else { path });
        // A part of a valid path is valid.
        parts.path_and_query = trimmed.parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    next.run(request).await
}

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    status: &'static str,
}

/// The state of the device.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    status: &'static str,
    /// The device that computes captions.
    adapter: String,
}

/// Whether the server is running.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether the server can caption. It cannot while kernels are being compiled or a lost device is being opened again.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, body = Readiness),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
async fn readyz(State(service): State<Arc<Service>>) -> Response {
    if service.is_ready() {
        return Json(Readiness { status: "ready", adapter: service.device().name().to_owned() })
            .into_response();
    }
    let detail = "the device is being prepared; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).retry_after(1).into_response()
}
