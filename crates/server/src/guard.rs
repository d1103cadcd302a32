//! Access to the API: tokens, sites and names.

use crate::config::{Site, Token};
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// The conditions for access to the API.
///
/// Without a token, requests have to use a known name of the server. Otherwise a malicious site could let its own name resolve
/// to this server's address (DNS rebinding), and the visitor's browser would treat the server as part of the site.
pub(crate) struct Access {
    /// The token that clients of the API have to send, if there is one.
    token: Option<Token>,
    /// Other sites whose pages may use the API.
    sites: Vec<Site>,
}

/// Prefixes of the paths that need the token.
const PROTECTED: [&str; 3] = ["/v1/", "/model/", "/metrics"];

impl Access {
    pub(crate) fn new(token: Option<Token>, sites: Vec<Site>) -> Access {
        Access { token, sites }
    }

    /// Whether the name in a request is a known one: an address, `localhost` or the host of an allowed site. A request without
    /// a name is allowed, since no browser sends one.
    fn has_name(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = uri.authority().map(Authority::as_str);
        let named = named.map(str::as_bytes).or_else(|| Some(headers.get(header::HOST)?.as_bytes()));
        let Some(named) = named.filter(|_| self.token.is_none()) else { return true };
        Authority::try_from(named).is_ok_and(|authority| {
            let host = authority.host().to_lowercase();
            host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
                || host == "localhost"
                || host.ends_with(".localhost")
                || self.sites.iter().any(|site| site.host == host)
        })
    }

    /// Whether a request to this path has the token, or does not need it.
    fn knows(&self, path: &str, headers: &HeaderMap) -> bool {
        let is_protected = PROTECTED.iter().any(|prefix| path.starts_with(prefix));
        let Some(token) = self.token.as_ref().filter(|_| is_protected) else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case("bearer") && token.is(given.trim()))
    }

    /// The origin of a request.
    fn origin(&self, headers: &HeaderMap) -> Origin {
        let Some(value) = headers.get(header::ORIGIN) else { return Origin::Own };
        let text = value.to_str().unwrap_or_default().to_lowercase();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_lowercase);
        let is_own = text.split_once("://").is_some_and(|(_, origin)| Some(origin) == host.as_deref());
        match is_own {
            true => Origin::Own,
            false if self.sites.iter().any(|site| site.origin == text) => Origin::Allowed(value.clone()),
            false => Origin::Foreign,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Origin {
    /// A page of this server, or no page.
    Own,
    /// A page of an allowed site.
    Allowed(HeaderValue),
    /// Any other page.
    Foreign,
}

/// The largest head of a request, in bytes.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// The bytes of a request's head, as clients usually write it.
fn head_size(request: &Request) -> usize {
    let line = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).len();
    let field =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    line + request.headers().iter().map(field).sum::<usize>() + "\r\n".len()
}

/// Middleware that checks every request.
pub(crate) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if head_size(&request) > MAX_HEAD {
        let detail = format!(
            "expected a head of at most {MAX_HEAD} bytes, found a larger one; send fewer or shorter headers"
        );
        return Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
            .into_response();
    }
    if !access.has_name(request.uri(), request.headers()) {
        let detail = "expected an address, localhost or the host of an allowed site as this server's name, found another; \
                      options of the server allow its site or ask for a token";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail).into_response();
    }
    let origin = access.origin(request.headers());
    if origin == Origin::Foreign {
        let detail = "pages of other sites may not use this server, unless it was started with the site allowed; pages without a \
                      site, whose origin is `null`, never may";
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
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
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

    fn access_with(token: Option<&str>, sites: &[&str]) -> Access {
        let sites = sites.iter().map(|site| site.parse().unwrap()).collect();
        Access::new(token.map(|token| token.parse().unwrap()), sites)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn routes_for_photos_and_metrics_require_the_token() {
        let access = access_with(Some("secret"), &[]);
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
        assert!(access_with(None, &[]).knows("/v1/caption", &HeaderMap::new()));
    }

    #[test]
    fn requests_from_pages_of_other_sites_are_refused() {
        let access = access_with(None, &["https://Example.org/"]);
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

    #[test]
    fn unknown_host_names_are_refused_without_a_token() {
        let open = access_with(None, &["https://example.org:8443"]);
        let called = |access: &Access, host| access.has_name(&Uri::default(), &headers(&[("host", host)]));
        for known in
            ["127.0.0.1:8000", "[::1]:8000", "192.168.0.7", "LocalHost:1", "a.localhost", "Example.org"]
        {
            assert!(called(&open, known), "{known}");
        }
        for unknown in ["evil.example:8000", "localhost.evil.example", "notlocalhost", "", "a b"] {
            assert!(!called(&open, unknown), "{unknown}");
        }
        assert!(open.has_name(&Uri::default(), &HeaderMap::new()));
        let target = Uri::from_static("http://evil.example/v1/caption");
        assert!(!open.has_name(&target, &headers(&[("host", "localhost")])), "the target counts");
        assert!(called(&access_with(Some("secret"), &[]), "evil.example"));
    }
}
