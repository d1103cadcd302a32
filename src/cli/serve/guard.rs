//! Who may use the API.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked of clients.
pub(super) struct Access {
    /// The SHA-256 of the token: comparing hashes tells nothing of how much of a guess was right.
    token: Option<[u8; 32]>,
    /// Other sites whose pages may use the API.
    sites: Vec<Site>,
    /// Whether only this machine can connect and nothing is asked of it: then a browser here could be led to this server by a
    /// page's own name (DNS rebinding), and names have to be known.
    is_open_at_home: bool,
}

/// A web site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// As browsers tell it.
    origin: String,
    host: String,
}

/// Reads `scheme://host[:port]`.
pub(super) fn site(text: &str) -> Result<Site, String> {
    let wrong = || "expected scheme://host or scheme://host:port, as in https://example.org".to_owned();
    let origin = text.strip_suffix('/').unwrap_or(text).to_lowercase();
    let (scheme, authority) = origin.split_once("://").ok_or_else(wrong)?;
    let authority: Authority = authority.parse().map_err(|_| wrong())?;
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host).ok_or_else(wrong)?;
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    match is_scheme && is_port && !host.is_empty() && !host.contains('*') {
        true => Ok(Site { host: host.to_owned(), origin }),
        false => Err(wrong()),
    }
}

/// A token as it can be sent. What is wrong with it is told without it.
pub(super) fn token(text: &str) -> Result<&str, String> {
    let token = text.trim();
    match token.chars().find(|c| !c.is_ascii_graphic()) {
        None if token.is_empty() => Err("--token: expected a secret, found nothing".to_owned()),
        None => Ok(token),
        Some(found) => Err(format!(
            "--token: expected visible ASCII characters alone, found {found:?}; choose another secret"
        )),
    }
}

/// What needs the token.
const PROTECTED: [&str; 3] = ["/v1/", "/model/", "/metrics"];

impl Access {
    /// What is asked by a server at an address.
    pub(super) fn new(token: Option<&str>, sites: &[Site], address: IpAddr) -> Access {
        Access {
            token: token.map(|token| Sha256::digest(token).into()),
            sites: sites.to_vec(),
            is_open_at_home: token.is_none() && address.to_canonical().is_loopback(),
        }
    }

    /// Whether a request calls this server by a name that it has, if it calls it by any.
    fn has_name(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = uri.authority().map(Authority::as_str);
        let named = named.map(str::as_bytes).or_else(|| Some(headers.get(header::HOST)?.as_bytes()));
        let Some(named) = named.filter(|_| self.is_open_at_home) else { return true };
        Authority::try_from(named).is_ok_and(|authority| {
            let host = authority.host().to_lowercase();
            host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
                || host == "localhost"
                || host.ends_with(".localhost")
                || self.sites.iter().any(|site| site.host == host)
        })
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
            false if self.sites.iter().any(|site| site.origin == text) => Origin::Allowed(value.clone()),
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
    if !access.has_name(request.uri(), request.headers()) {
        let detail = "expected an address, localhost or the host of an --allow-origin as this server's name, found another; \
                      name its site with --allow-origin, or start the server with a --token";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail).into_response();
    }
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
    use std::net::Ipv4Addr;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_is_asked_for_where_photos_and_numbers_are() {
        let access = Access::new(Some("secret"), &[], HOME);
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
        assert!(Access::new(None, &[], HOME).knows("/v1/caption", &HeaderMap::new()));
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        let access = Access::new(None, &[site("https://Example.org/").unwrap()], HOME);
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
    fn names_of_others_are_unknown_where_nothing_else_is_asked() {
        let open = Access::new(None, &[site("https://example.org:8443").unwrap()], HOME);
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
        assert!(called(&Access::new(Some("secret"), &[], HOME), "evil.example"));
        assert!(called(&Access::new(None, &[], Ipv4Addr::UNSPECIFIED.into()), "evil.example"));
    }

    #[test]
    fn sites_are_origins_and_nothing_else() {
        let found = site("HTTPS://Example.org:8443").unwrap();
        assert_eq!((&*found.origin, &*found.host), ("https://example.org:8443", "example.org"));
        assert_eq!(site("http://[::1]:80").unwrap().host, "[::1]");
        for wrong in [
            "*",
            "",
            "null",
            "example.org",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://*.a",
            "https://a:x",
            "https://a:",
            "https://b@a",
            "://a",
        ] {
            assert!(site(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_can_be_sent() {
        assert_eq!(token(" open-sesame\n"), Ok("open-sesame"));
        assert_eq!(token(" ").unwrap_err(), "--token: expected a secret, found nothing");
        for wrong in ["open sesame", "gehe\u{ef}m", "a\u{7}b"] {
            assert!(token(wrong).unwrap_err().starts_with("--token: expected visible ASCII"), "{wrong}");
        }
    }
}
