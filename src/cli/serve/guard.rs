//! Who may use the API.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What is asked of clients.
pub(super) struct Access {
    /// The SHA-256 of the token: comparing hashes tells nothing of how much of a guess was right.
    token: Option<[u8; 32]>,
    /// Other sites whose pages may use the API.
    origins: Vec<String>,
}

/// What needs the token.
const PROTECTED: [&str; 3] = ["/v1/", "/model/", "/metrics"];

impl Access {
    pub(super) fn new(token: Option<&str>, origins: &[String]) -> Access {
        let origins = origins.iter().map(|origin| origin.trim_end_matches('/').to_lowercase()).collect();
        Access { token: token.map(|token| Sha256::digest(token).into()), origins }
    }

    /// Whether a request to this path carries the token, if it needs to.
    fn knows(&self, path: &str, headers: &HeaderMap) -> bool {
        let Some(token) = self.token.filter(|_| PROTECTED.iter().any(|prefix| path.starts_with(prefix)))
        else {
            return true;
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer") && <[u8; 32]>::from(Sha256::digest(given.trim())) == token
        })
    }

    /// Where a page that asks comes from: our own or none at all, one that may, or any other.
    fn origin(&self, headers: &HeaderMap) -> Origin {
        let Some(value) = headers.get(header::ORIGIN) else { return Origin::Own };
        let text = value.to_str().unwrap_or_default().to_lowercase();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_lowercase);
        let is_own = text.split_once("://").is_some_and(|(_, origin)| Some(origin) == host.as_deref());
        match is_own {
            true => Origin::Own,
            false if self.origins.contains(&text) => Origin::Allowed(value.clone()),
            false => Origin::Foreign,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Origin {
    Own,
    Allowed(HeaderValue),
    Foreign,
}

/// Before every request.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let origin = access.origin(request.headers());
    if origin == Origin::Foreign {
        let detail = "pages of other sites may not use this server; name the site with --allow-origin";
        return Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail).into_response();
    }
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight && matches!(origin, Origin::Allowed(_)) {
        StatusCode::NO_CONTENT.into_response()
    } else if access.knows(request.uri().path(), request.headers()) {
        next.run(request).await
    } else {
        let detail = "expected the server's token as `Authorization: Bearer TOKEN`";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response()
    };
    if let Origin::Allowed(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        if is_preflight {
            let allowed = HeaderValue::from_static("authorization, content-type");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_is_asked_for_where_photos_and_numbers_are() {
        let access = Access::new(Some("secret"), &[]);
        let with = |value| headers(&[("authorization", value)]);
        assert!(access.knows("/healthz", &HeaderMap::new()) && access.knows("/", &HeaderMap::new()));
        for path in ["/v1/caption", "/model/predict", "/metrics"] {
            assert!(!access.knows(path, &HeaderMap::new()), "{path}");
            assert!(
                access.knows(path, &with("Bearer secret")) && access.knows(path, &with("bearer  secret "))
            );
            for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer"] {
                assert!(!access.knows(path, &with(wrong)), "{wrong}");
            }
        }
        assert!(Access::new(None, &[]).knows("/v1/caption", &HeaderMap::new()));
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        let access = Access::new(None, &["https://Example.org/".to_owned()]);
        let from = |origin| access.origin(&headers(&[("host", "127.0.0.1:8000"), ("origin", origin)]));
        assert_eq!(access.origin(&headers(&[("host", "127.0.0.1:8000")])), Origin::Own);
        assert_eq!(from("http://127.0.0.1:8000"), Origin::Own);
        assert_eq!(
            from("https://example.org"),
            Origin::Allowed(HeaderValue::from_static("https://example.org"))
        );
        for foreign in
            ["http://127.0.0.1:8001", "https://example.org.evil.net", "null", "http://localhost:8000"]
        {
            assert_eq!(from(foreign), Origin::Foreign, "{foreign}");
        }
    }
}
