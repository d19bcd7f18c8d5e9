//! Where a request comes from. `X-Forwarded-For` says what its sender likes, so it is believed as far as proxies of ours
//! wrote it: from its end back to the first address that is none of theirs.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use poem::Request;

/// Addresses that belong together, written `10.0.0.0/8`, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Not of the form of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an address, or a network such as 10.0.0.0/8")]
pub struct InvalidNetwork;

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| one()).map(Self).map_err(|_| InvalidNetwork)
    }
}

/// The address of the client: the peer's, or what trusted proxies say in its stead. None where the peer has none, as
/// where it speaks over a local socket.
pub(crate) fn client_address(request: &Request, trusted: &[Network]) -> Option<IpAddr> {
    let peer = request.remote_addr().as_socket_addr()?.ip();
    let forwarded: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .collect();
    Some(resolve(peer, &forwarded, trusted))
}

/// `forwarded` names who sent to whom, the farthest first.
fn resolve(peer: IpAddr, forwarded: &[&str], trusted: &[Network]) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in forwarded.iter().rev() {
        if !trusted.iter().any(|Network(network)| network.contains(&client)) {
            break;
        }
        let Some(address) = parse(hop.trim()) else { break };
        client = address.to_canonical();
    }
    client
}

/// Some proxies add the port.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::{InvalidNetwork, Network, resolve};

    #[track_caller]
    fn check(peer: &str, forwarded: &[&str], client: &str) {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "127.0.0.1", "fd00::/8"].map(|network| network.parse().unwrap()).into();
        assert_eq!(resolve(peer.parse().unwrap(), forwarded, &trusted).to_string(), client);
    }

    #[test]
    fn a_stranger_s_word_counts_for_nothing() {
        check("198.51.100.7", &[], "198.51.100.7");
        check("198.51.100.7", &["203.0.113.1"], "198.51.100.7");
        check("::ffff:198.51.100.7", &["203.0.113.1"], "198.51.100.7");
    }

    #[test]
    fn a_proxy_is_believed_about_its_own_client_alone() {
        check("10.1.2.3", &["203.0.113.1"], "203.0.113.1");
        check("::ffff:127.0.0.1", &["203.0.113.1:4711"], "203.0.113.1");
        check("fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1");
        // The client wrote the first itself.
        check("10.1.2.3", &["192.0.2.66", "203.0.113.1"], "203.0.113.1");
        check("10.1.2.3", &["203.0.113.1", "10.9.9.9"], "203.0.113.1");
        check("10.1.2.3", &["10.7.7.7"], "10.7.7.7");
    }

    #[test]
    fn nonsense_ends_the_chain() {
        check("10.1.2.3", &["unknown"], "10.1.2.3");
        check("10.1.2.3", &["203.0.113.1", "", "10.9.9.9"], "10.9.9.9");
    }

    #[test]
    fn a_network_is_checked() {
        for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            assert_eq!(wrong.parse::<Network>(), Err(InvalidNetwork), "{wrong}");
        }
    }
}
