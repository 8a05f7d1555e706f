//! Who a server lets in: the flags that all servers share, and what follows from them.

use ipnet::IpNet;
use rondo_core::Code;
use rondo_project::quote;
use rondo_store::Store;

use super::Session;
use super::failure::{Failure, Outcome};
use crate::http::access::guard::listens_to_itself;
use crate::http::access::{Admission, Mode};

/// How many requests of one client are worked on at a time, unless it is said.
const AT_ONCE: usize = 64;

/// Who is let in
#[derive(clap::Args)]
pub struct Doorway {
    /// Ask for a user's password or token also on this machine; beyond it that is always asked for
    #[arg(long, conflicts_with = "open_to_network")]
    auth: bool,
    /// Listen beyond this machine although anyone who reaches it may do everything: put a proxy that asks
    /// who is there before it
    #[arg(long)]
    open_to_network: bool,
    /// Names that this server is reached by, in which `*` stands for anything; localhost and addresses are
    /// always answered
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// Take the word of proxies in this network for where a request comes from (X-Forwarded-For, Forwarded):
    /// failed logins and requests at a time are counted by it; may be given more than once
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Vec<IpNet>,
    /// How many requests of one client are worked on at a time
    #[arg(long, value_name = "N")]
    requests_per_client: Option<usize>,
}

impl Doorway {
    /// The door for a server that listens there.
    ///
    /// # Errors
    /// When users would be asked for and there is no administrator, or the store cannot be read.
    pub async fn plan(self, listen: &str, store: &Store, session: &Session) -> Outcome<Admission> {
        let beyond = !listens_to_itself(listen);
        let asks = self.auth || (beyond && !self.open_to_network);
        if asks && !store.meta().access_book().await?.has_admin() {
            let message =
                format!("listen on `{listen}`: nobody could come in, there is no administrator yet");
            return Err(Failure::hinted(
                Code::Denied,
                message,
                format!(
                    "rondo admin user add NAME --role admin --data {}",
                    quote::word(&store.root().to_string_lossy())
                ),
            ));
        }
        if asks && beyond {
            session.printer().note(
                "passwords and tokens travel as they are: put a proxy with TLS before it, or a private network",
            );
        }
        Ok(Admission {
            mode: if asks { Mode::Users } else { Mode::Open },
            hosts: self.allowed_hosts.iter().map(|name| bare(name)).collect(),
            proxies: self.trusted_proxies,
            at_once: self.requests_per_client.or((asks || beyond).then_some(AT_ONCE)),
        })
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| one()).map_err(|_| "it looks like 10.0.0.0/8 or 10.1.2.3".to_owned())
}

/// An address to listen on: a host, and a port behind a colon.
pub fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err("it looks like 127.0.0.1:5000, and 127.0.0.1:0 is any free port".to_owned());
    }
    Ok(text.to_owned())
}

/// A name without a port: a request's host is looked at without its own.
fn bare(name: &str) -> String {
    let name = name.trim();
    name.rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .map_or(name, |(name, _)| name)
        .into()
}

/// Refuses to listen beyond this machine without being told to, where there are no users.
///
/// # Errors
/// When the address can be reached from elsewhere and it was not said that it may.
pub fn refuse_network(listen: &str, open_to_network: bool) -> Outcome {
    if open_to_network || listens_to_itself(listen) {
        return Ok(());
    }
    let message = format!("listen on `{listen}`: anyone who can reach it could do everything");
    Err(Failure::hinted(Code::Denied, message, "listen on 127.0.0.1, or add --open-to-network"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_to_listen_on_has_a_host_and_a_port() {
        for listen in ["127.0.0.1:5000", "localhost:0", "[::1]:8080", "0.0.0.0:65535"] {
            assert_eq!(super::address(listen).as_deref(), Ok(listen));
        }
        for word in ["foo", "5000", ":5000", "foo:", "foo:http", "foo:65536", "http://foo:80", ""] {
            assert!(super::address(word).unwrap_err().contains("127.0.0.1:5000"), "{word}");
        }
    }

    #[test]
    fn a_hosts_port_is_of_no_account() {
        assert_eq!(super::bare(" mlflow.example.org:5000 "), "mlflow.example.org");
        assert_eq!(super::bare("mlflow"), "mlflow");
    }
}
