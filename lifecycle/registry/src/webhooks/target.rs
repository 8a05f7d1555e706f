//! Who may be told: public hosts over https, and the private ones that the operator lets in.
//!
//! A URL that a client gives is no way into the network that the server stands in. A name is resolved here,
//! each address is looked at, and the connection goes to one of these addresses and to no other: what the
//! name leads to a moment later does not count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::Error;

/// How long a name may take to be resolved.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest URL.
const LENGTH: usize = 2000;

/// Why a URL is no webhook's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is empty.
    #[error("a webhook's URL cannot be empty")]
    Empty,
    /// It cannot be read.
    #[error("webhook URL `{url}` cannot be read: {reason}")]
    Invalid {
        /// The URL, shortened.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Not https, and not to a host that was let in.
    #[error("webhook URL has scheme `{scheme}`: only https is taken")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// It leads to where a server's network begins.
    #[error("webhook URL leads to `{host}`, which is at {address}: not a public address")]
    NotPublic {
        /// The host.
        host: String,
        /// What it resolves to.
        address: IpAddr,
    },
}

/// The private receivers that the operator lets in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    entries: Arc<[Entry]>,
}

/// A host by its name, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A name, such as `receiver.internal`.
    Host(String),
    /// Addresses, such as `10.1.0.0/16`.
    Net(IpNet),
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(net) = text.parse() {
            return Ok(Self::Net(net));
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if text.is_empty() || !text.chars().all(named) {
            return Err(format!("`{text}` is neither a host's name nor a network such as 10.1.0.0/16"));
        }
        Ok(Self::Host(text.to_ascii_lowercase()))
    }
}

impl Allow {
    /// Lets these in.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries: entries.into() }
    }

    /// Refuses a URL that would never be told anything. A name that cannot be resolved just now may be one
    /// later: it is looked at again with each delivery.
    ///
    /// # Errors
    /// When it is no URL, not https, or leads to an address that is not public.
    pub async fn check(&self, url: &str) -> Result<Url, Error> {
        let url = self.read(url).map_err(Error::WebhookUrl)?;
        if let Some(host) = url.host_str().filter(|host| address_of(host).is_none()) {
            let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 443))).await;
            for address in found.into_iter().flatten().flatten() {
                self.admit(host, address.ip()).map_err(Error::WebhookUrl)?;
            }
        }
        Ok(url)
    }

    /// The same, without looking up a name.
    pub(super) fn read(&self, text: &str) -> Result<Url, UrlFault> {
        if text.trim().is_empty() {
            return Err(UrlFault::Empty);
        }
        let invalid = |reason: String| UrlFault::Invalid { url: text.chars().take(200).collect(), reason };
        if text.len() > LENGTH {
            return Err(invalid(format!("it has more than {LENGTH} bytes")));
        }
        let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        let plain_to_own = url.scheme() == "http" && self.names(&url);
        if url.scheme() != "https" && !plain_to_own {
            return Err(UrlFault::Scheme { scheme: url.scheme().to_owned() });
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| invalid("it has no host".to_owned()))?;
        if let Some(address) = address_of(host) {
            self.admit(host, address)?;
        }
        Ok(url)
    }

    /// Whether a URL's own host, by its name or address, was let in.
    fn names(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        address_of(host).map_or_else(|| self.has_name(host), |address| self.has_address(address))
    }

    fn has_name(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.entries.iter().any(|entry| matches!(entry, Entry::Host(own) if own.eq_ignore_ascii_case(host)))
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Net(net) if net.contains(&address)))
    }

    fn admit(&self, host: &str, address: IpAddr) -> Result<(), UrlFault> {
        if is_public(address) || self.has_name(host) || self.has_address(address) {
            return Ok(());
        }
        Err(UrlFault::NotPublic { host: host.to_owned(), address })
    }
}

/// The address that a URL's host is. A URL has each address in one form, however it was written.
fn address_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The only way in which the courier comes by an address.
impl Resolve for Allow {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), 0))).await??;
            let found: Vec<SocketAddr> = found.collect();
            // One that leads inside makes the whole name suspect.
            for address in &found {
                allow.admit(&host, address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public network: no loopback, private, link-local (cloud metadata among
/// it), carrier's, documentation, multicast or reserved one, and none that hides another within it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a >= 224
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast, without what is set aside in it: protocols and tunnels (Teredo, 6to4), documentation.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x0200)
        && !(a == 0x2001 && b == 0x0db8)
        && a != 0x2002
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(entries: &[&str]) -> Allow {
        Allow::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
    }

    #[test]
    fn the_inside_of_a_network_is_not_public() {
        for inside in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_address_is_known_however_it_is_written() {
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://user@10.0.0.1/",
            "https://①②⑦.0.0.1/",
        ] {
            let read = Allow::default().read(url);
            assert!(matches!(read, Err(UrlFault::NotPublic { .. })), "{url}: {read:?}");
        }
    }

    #[test]
    fn only_https_is_taken_unless_the_host_was_let_in() {
        let none = Allow::default();
        assert_eq!(none.read("   "), Err(UrlFault::Empty));
        for url in ["http://example.com", "ftp://example.com", "file:///etc/passwd", "gopher://x/"] {
            assert!(matches!(none.read(url), Err(UrlFault::Scheme { .. })), "{url}");
        }
        for url in ["http://[invalid", "https://", "no url", "//example.com"] {
            assert!(matches!(none.read(url), Err(UrlFault::Invalid { .. })), "{url}");
        }
        assert!(none.read("https://example.com/hook").is_ok());
        let own = allow(&["localhost", "10.1.0.0/16", "::1"]);
        for url in ["http://localhost:80/x", "http://LOCALHOST./", "http://10.1.2.3/", "https://[::1]/"] {
            assert!(own.read(url).is_ok(), "{url}");
        }
        assert!(own.read("http://10.2.0.1/").is_err());
        assert!(own.read("http://example.com/").is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_given_and_when_it_is_used() {
        let given = Allow::default().check("https://localhost/").await;
        assert!(matches!(given, Err(Error::WebhookUrl(UrlFault::NotPublic { .. }))), "{given:?}");
        let resolved = Allow::default().resolve(Name::from_str("localhost").unwrap()).await;
        assert!(resolved.is_err());
        assert!(allow(&["localhost"]).resolve(Name::from_str("localhost").unwrap()).await.is_ok());
    }

    #[test]
    fn what_is_let_in_is_a_name_or_a_network() {
        assert_eq!("Receiver.Internal".parse(), Ok(Entry::Host("receiver.internal".into())));
        assert_eq!("10.0.0.0/8".parse(), Ok(Entry::Net("10.0.0.0/8".parse().unwrap())));
        assert_eq!("[::1]".parse(), Ok(Entry::Net("::1/128".parse().unwrap())));
        for odd in ["", "http://x", "10.0.0.0/99", "*", "a b"] {
            assert!(odd.parse::<Entry>().is_err(), "{odd}");
        }
    }
}
