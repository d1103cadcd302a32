//! The OpenAPI description, generated from the types of requests and answers.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

/// The parts of the description that do not come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Shade & Tell",
        description = "Captions photos. Errors are problem details (RFC 9457); their `code` stays the same when texts are reworded."
    ),
    tags(
        (name = "captions", description = "Photos in, sentences out"),
        (name = "features", description = "Classes and features of photos"),
        (name = "MAX", description = "The routes of IBM's MAX Image Caption Generator, for its clients"),
        (name = "operation", description = "For operators of the server"),
    ),
    modifiers(&Token),
    security((), ("token" = []))
)]
struct Description;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Required if the server was started with a token"));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    }
}

/// The description without routes.
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// The description as a route.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(description: &utoipa::openapi::OpenApi) -> Router<S> {
    // The description consists of text and numbers, which always serialise.
    let json = serde_json::to_string(description).unwrap_or_default();
    Router::new()
        .route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], json) }))
}
