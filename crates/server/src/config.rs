//! Settings of a server.

use axum::http::uri::Authority;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Settings of a server.
#[derive(Clone)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Limits on requests.
    pub limits: Limits,
    /// The token that clients of the API have to send, if there is one.
    pub token: Option<Token>,
    /// Other sites whose pages may use the API.
    pub sites: Vec<Site>,
}

/// Limits on requests.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most photos in a batch.
    pub max_batch: usize,
    /// How long a photo waits for others to fill the batch.
    pub max_wait: Duration,
    /// Most photos that are accepted and not answered yet.
    pub queue: usize,
    /// Most bytes of a body.
    pub max_body: usize,
    /// Most pixels of a photo.
    pub max_pixels: u64,
    /// The timeout for the head of a request, then for its body, and for a client that does not read its answer.
    pub timeout: Duration,
    /// Most connections.
    pub connections: usize,
}

impl Limits {
    /// The limits of `shadetell serve` without options.
    pub const DEFAULT: Limits = Limits {
        max_batch: 8,
        max_wait: Duration::from_millis(2),
        queue: 64,
        max_body: 20 << 20,
        max_pixels: 100_000_000,
        timeout: Duration::from_secs(15),
        connections: 1024,
    };
}

/// A setting cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetting(String);

/// A secret that clients of the API have to send as `Authorization: Bearer TOKEN`. Parsing fails if a header cannot contain it;
/// the error does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Its SHA-256. The time to compare hashes does not reveal how much of a guess was right.
    hash: [u8; 32],
}

impl Token {
    fn new(text: &str) -> Token {
        Token { hash: Sha256::digest(text).into() }
    }

    /// Whether a text from a client is the token.
    pub(crate) fn is(&self, text: &str) -> bool {
        *self == Token::new(text)
    }
}

impl FromStr for Token {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Token, InvalidSetting> {
        let token = text.trim();
        match token.chars().find(|c| !c.is_ascii_graphic()) {
            None if token.is_empty() => Err(InvalidSetting("expected a secret, found nothing".to_owned())),
            None => Ok(Token::new(token)),
            Some(found) => Err(InvalidSetting(format!(
                "expected visible ASCII characters alone, found {found:?}; choose another secret"
            ))),
        }
    }
}

/// A web site, parsed from `scheme://host` or `scheme://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// As in the header `Origin`.
    pub(crate) origin: String,
    pub(crate) host: String,
}

impl FromStr for Site {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Site, InvalidSetting> {
        let wrong = || {
            let expected = "expected scheme://host or scheme://host:port, as in https://example.org";
            InvalidSetting(expected.to_owned())
        };
        if text.eq_ignore_ascii_case("null") {
            let reason = "`null` is the origin of files and of sandboxed frames of any site, and cannot be allowed: serve the page \
                          from an address of its own";
            return Err(InvalidSetting(reason.to_owned()));
        }
        let origin = text.strip_suffix('/').unwrap_or(text).to_lowercase();
        let (scheme, authority) = origin.split_once("://").ok_or_else(wrong)?;
        let authority: Authority = authority.parse().map_err(|_| wrong())?;
        let host = authority.host();
        let port = authority.as_str().strip_prefix(host).ok_or_else(wrong)?;
        let is_port =
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        match is_scheme && is_port && !host.is_empty() && !host.contains('*') {
            true => Ok(Site { host: host.to_owned(), origin }),
            false => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_origins_and_nothing_else() {
        let found: Site = "HTTPS://Example.org:8443".parse().unwrap();
        assert_eq!((&*found.origin, &*found.host), ("https://example.org:8443", "example.org"));
        assert_eq!("http://[::1]:80".parse::<Site>().unwrap().host, "[::1]");
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
            assert!(wrong.parse::<Site>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_origin_of_no_site_cannot_be_allowed() {
        assert!("null".parse::<Site>().unwrap_err().to_string().contains("sandboxed frames of any site"));
    }

    #[test]
    fn a_token_that_a_header_cannot_contain_is_refused() {
        let token: Token = " open-sesame\n".parse().unwrap();
        assert!(token.is("open-sesame") && !token.is("open-sesam") && !token.is(""));
        let error = |text: &str| text.parse::<Token>().map(drop).unwrap_err().to_string();
        assert_eq!(error(" "), "expected a secret, found nothing");
        for wrong in ["open sesame", "gehe\u{ef}m", "a\u{7}b"] {
            assert!(error(wrong).starts_with("expected visible ASCII"), "{wrong}");
        }
    }
}
