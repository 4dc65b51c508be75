//! From the text of an address to what gRPC connects to.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::error::Error;
use crate::token::HIDDEN;

const FIELD: &str = "url";
const FORMS: &str = "host:port, turntree://host:port or turntrees://host:port?ca_file=…&cert_file=…&key_file=…";
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How long an attempt to connect may take, on a slow network and on one that swallows it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection that died without a word is noticed within five seconds, also by a watch that only listens.
const PING_EVERY: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a server is, and how it is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port`.
    pub target: String,
    pub tls: Option<TlsFiles>,
}

/// Files in PEM: the certificates to trust, and what the client shows of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
        let (target, query) = match scheme {
            Some(_) => rest.split_once('?').unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let target = scheme.map_or(target, |_| target.strip_suffix('/').unwrap_or(target));
        if target.contains('@') || split_option(query).0.contains('@') {
            return Err(refused(url, "without a user and a password: a token is given to the builder"));
        }
        let port = target.rsplit_once(':').filter(|(host, _)| is_host(host)).map(|(_, port)| port);
        if url.contains('#') || !port.is_some_and(is_port) {
            return Err(refused(url, FORMS));
        }
        let tls = match scheme {
            Some("turntrees") => Some(TlsFiles::parse(url, query)?),
            None | Some("turntree") if query.is_empty() => None,
            _ => return Err(refused(url, FORMS)),
        };
        Ok(Self { target: target.to_owned(), tls })
    }

    /// Whether the server is on this machine, as the address says.
    fn is_loopback(&self) -> bool {
        let host = self.target.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether a token may be sent there: nobody else can read it on the way.
    pub(crate) fn check_token(&self) -> Result<(), Error> {
        if self.tls.is_some() || self.is_loopback() {
            return Ok(());
        }
        Err(Error::invalid("token", HIDDEN, "sent over TLS (turntrees://), or to a loopback address"))
    }

    /// What to connect to.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let refused = |_| Error::invalid(FIELD, &self.target, FORMS);
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.target)).map_err(refused)?;
        if let Some(files) = &self.tls {
            let config = files.read()?.timeout(CONNECT_TIMEOUT);
            let limit = "certificates and a key in PEM that belong together";
            endpoint = endpoint.tls_config(config).map_err(|_| Error::invalid(FIELD, &self.target, limit))?;
        }
        Ok(endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .user_agent(concat!("turntree-rust/", env!("CARGO_PKG_VERSION")))
            .expect("a name and a version are a user agent"))
    }
}

impl TlsFiles {
    fn parse(url: &str, query: &str) -> Result<Self, Error> {
        let mut files = Self::default();
        for (name, value) in query.split('&').filter(|option| !option.is_empty()).map(split_option) {
            let file = match name {
                "ca_file" => &mut files.ca,
                "cert_file" => &mut files.cert,
                "key_file" => &mut files.key,
                _ => return Err(refused(url, &format!("without the option '{name}'"))),
            };
            let value = value.replace('+', " ");
            let Ok(path) = percent_decode_str(&value).decode_utf8() else {
                return Err(refused(url, &format!("'{name}' in UTF-8")));
            };
            if path.is_empty() || file.replace(path.into_owned()).is_some() {
                return Err(refused(url, &format!("with one file as '{name}'")));
            }
        }
        if files.cert.is_some() != files.key.is_some() {
            return Err(refused(url, "with both cert_file and key_file, or neither"));
        }
        Ok(files)
    }

    fn read(&self) -> Result<ClientTlsConfig, Error> {
        let mut config = ClientTlsConfig::new();
        config = match &self.ca {
            Some(path) => config.ca_certificate(Certificate::from_pem(read_pem("ca_file", path, "CERTIFICATE")?)),
            None => config.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            let certificate = read_pem("cert_file", certificate, "CERTIFICATE")?;
            let key = read_pem("key_file", key, "PRIVATE KEY")?;
            config = config.identity(Identity::from_pem(certificate, key));
        }
        Ok(config)
    }
}

fn read_pem(option: &str, path: &str, label: &str) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(text) if text.contains(&format!("{label}-----")) => Ok(text),
        Ok(_) => Err(Error::invalid(option, path, &format!("a file that holds a {label} in PEM"))),
        Err(error) => Err(Error::invalid(option, path, &format!("a file that can be read ({})", error.kind()))),
    }
}

/// The error of a URL, which it shows without the password that it may have.
fn refused(url: &str, limit: &str) -> Error {
    let Some((before, after)) = url.rsplit_once('@') else {
        return Error::invalid(FIELD, url, limit);
    };
    let is_scheme = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'));
    let scheme = before.split_once("://").map(|(scheme, _)| scheme).filter(is_scheme);
    let scheme = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    Error::invalid(FIELD, &format!("{scheme}(hidden)@{after}"), limit)
}

fn split_option(option: &str) -> (&str, &str) {
    option.split_once('=').unwrap_or((option, ""))
}

/// Whether this is a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::v1::ErrorReason;

    /// What is an address, and what is not, is the same in every client: with TLS it names its files as options,
    /// percent-encoded; what is none is refused with the field, the value and the limit, and a password is not shown.
    #[test]
    fn addresses() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../addresses.json")).unwrap();
        let addresses: Value = serde_json::from_str(&text).unwrap();
        for accepted in addresses["accepted"].as_array().unwrap() {
            let url = accepted["url"].as_str().unwrap();
            let file = |files: &Value, option: &str| files[option].as_str().map(str::to_owned);
            let tls = accepted.get("tls").map(|files| TlsFiles {
                ca: file(files, "ca_file"),
                cert: file(files, "cert_file"),
                key: file(files, "key_file"),
            });
            let target = accepted["target"].as_str().unwrap().to_owned();
            assert_eq!(Address::parse(url).unwrap(), Address { target, tls }, "{url}");
        }
        for refused in addresses["refused"].as_array().unwrap() {
            let url = refused["url"].as_str().unwrap();
            let error = Address::parse(url).expect_err(url);
            assert_eq!(error.reason(), ErrorReason::FieldInvalid, "{url}");
            assert_eq!(error.fact("field"), Some("url"), "{url}");
            assert_eq!(error.fact("value"), refused["shown"].as_str(), "{url}");
            assert!(error.fact("limit").is_some(), "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    /// A file that cannot be read, or holds no certificate, is named by its option and path.
    #[test]
    fn bad_files() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        for path in [folder.path().join("missing.pem"), empty] {
            let path = path.to_str().unwrap();
            let address = Address::parse(&format!("turntrees://localhost:1?ca_file={path}")).unwrap();
            let error = address.endpoint().unwrap_err();
            assert_eq!((error.fact("field"), error.fact("value")), (Some("ca_file"), Some(path)));
        }
    }

    /// A token is sent over TLS, and without it to this machine only.
    #[test]
    fn never_over_plaintext() {
        for (url, is_sent) in [
            ("turntrees://memory.example:1", true),
            ("turntree://127.0.0.1:1", true),
            ("localhost:1", true),
            ("memory.example:1", false),
            ("turntree://10.0.0.1:1", false),
        ] {
            assert_eq!(Address::parse(url).unwrap().check_token().is_ok(), is_sent, "{url}");
        }
    }

    /// Only localhost and the loopback addresses are this machine.
    #[test]
    fn loopback() {
        for (target, expected) in [
            ("localhost:1", true),
            ("LOCALHOST:1", true),
            ("127.8.9.1:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("10.0.0.1:1", false),
            ("[2001:db8::1]:1", false),
            ("localhost.example:1", false),
            ("127.0.0.1.example:1", false),
        ] {
            assert_eq!(Address::parse(target).unwrap().is_loopback(), expected, "{target}");
        }
    }
}
