//! The web page. It is part of the binary and loads nothing from other servers. All its addresses are relative, so that a proxy can
//! offer it below a path of its own.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of `web/` by its route.
macro_rules! asset {
    ($route:literal, $file:literal, $kind:expr) => {
        ($route, $kind, include_str!(concat!("../web/", $file)))
    };
}

/// Routes, media types and contents.
const ASSETS: [(&str, &str, &str); 9] = [
    asset!("/", "index.html", HTML),
    asset!("/app.js", "app.js", SCRIPT),
    asset!("/attention.js", "attention.js", SCRIPT),
    asset!("/camera.js", "camera.js", SCRIPT),
    asset!("/export.js", "export.js", SCRIPT),
    asset!("/style.css", "style.css", STYLE),
    asset!("/icon.svg", "icon.svg", PICTURE),
    asset!("/docs", "docs.html", HTML),
    asset!("/docs.js", "docs.js", SCRIPT),
];

/// The description with a slash at its end. Its relative addresses would be wrong there.
pub(crate) const DOCS_FOLDER: &str = "/docs/";

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let redirect = (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "../docs")]);
    let router = Router::new().route(DOCS_FOLDER, get(move || async move { redirect }));
    ASSETS.iter().fold(router, |router, &(route, kind, content)| {
        router.route(route, get(move || async move { ([(header::CONTENT_TYPE, kind)], content) }))
    })
}

/// Headers of every response: browsers must not load from other servers, guess types, or cache anything.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
];

/// Adds these headers to every answer.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
