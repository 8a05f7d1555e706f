//! Behind a proxy: where a request comes from, by the word of those whose word counts.
//!
//! Anybody can write `X-Forwarded-For` or `Forwarded` (RFC 7239) into a request, so they are read from the end,
//! where the last proxy has written: each address that is a trusted proxy's vouches for the one before it. The
//! first that is none is the client, and whatever it says of others before it counts for nothing.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// How many proxies may be behind each other.
const MOST: usize = 16;

/// The client of a request that came from an address.
pub(super) fn behind(trusted: &[IpNet], from: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    if trusted.is_empty() {
        return from;
    }
    let by = |said: Vec<Option<IpAddr>>| {
        let mut client = from;
        for said in said.into_iter().rev().take(MOST) {
            if !is_trusted(client) {
                break;
            }
            match said {
                Some(address) => client = address,
                // Hidden, or nonsense: then it is known to that proxy alone.
                None => break,
            }
        }
        client
    };
    let (plain, standard) = said(headers);
    match (plain.is_empty(), standard.is_empty()) {
        (_, true) => by(plain),
        (true, false) => by(standard),
        // A proxy that writes one passes the other on as a client has sent it: where they differ neither counts.
        (false, false) => Some(by(plain)).filter(|client| *client == by(standard)).unwrap_or(from),
    }
}

/// Whether the proxy that a request came from says that it got it by TLS, and its word counts.
pub(super) fn by_tls(trusted: &[IpNet], from: IpAddr, headers: &HeaderMap) -> bool {
    let said = headers.get_all("x-forwarded-proto").iter().next_back();
    let said = said.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
    trusted.iter().any(|net| net.contains(&from)) && said.is_some_and(|word| word.trim() == "https")
}

/// The addresses that `X-Forwarded-For` and `Forwarded` say, in their order.
fn said(headers: &HeaderMap) -> (Vec<Option<IpAddr>>, Vec<Option<IpAddr>>) {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
        values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let of = |part: &String| {
        let pairs = part.split(';').filter_map(|pair| pair.split_once('='));
        let mut whose = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case("for"));
        whose.next().and_then(|(_, value)| address(value.trim().trim_matches('"')))
    };
    let plain = all("x-forwarded-for").iter().map(|text| address(text)).collect();
    (plain, all("forwarded").iter().map(of).collect())
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = plain.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn client(trusted: &[&str], from: &str, headers: &[(&'static str, &'static str)]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        behind(&trusted, from.parse().unwrap(), &map).to_string()
    }

    const X: &str = "x-forwarded-for";

    #[test]
    fn only_a_trusted_proxys_word_counts() {
        let said = &[(X, "203.0.113.9")];
        assert_eq!(client(&[], "10.0.0.1", said), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", said), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", said), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_says_of_itself_counts_for_nothing() {
        let forged = &[(X, "127.0.0.1, 203.0.113.9")];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", forged), "203.0.113.9");
        let twice = &[(X, "127.0.0.1"), (X, "203.0.113.9, 10.0.0.2")];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", twice), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[(X, "203.0.113.9, who?")]), "10.0.0.1");
        let both = &[("forwarded", "for=127.0.0.1"), (X, "203.0.113.9")];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", both), "10.0.0.1");
        let agreed = &[("forwarded", "for=203.0.113.9"), (X, "203.0.113.9")];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", agreed), "203.0.113.9");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        let proxy = |value| client(&["10.0.0.0/8", "::1/128"], "10.0.0.1", &[("forwarded", value)]);
        assert_eq!(proxy("for=203.0.113.9;proto=https;by=10.0.0.1"), "203.0.113.9");
        assert_eq!(proxy("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(proxy("for=198.51.100.1, for=\"203.0.113.9:80\";host=x, for=10.1.2.3"), "203.0.113.9");
        assert_eq!(proxy("for=_hidden"), "10.0.0.1");
        assert_eq!(proxy(";;=,,"), "10.0.0.1");
    }
}
