//! The one way out: requests to addresses that users name. They may name what only this machine can reach, so each address
//! is looked at before it is connected to, and a name is resolved once, here: what was looked at is what is called.

use anyhow::Context as _;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// From the look-up of the name to the end of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What is read of an answer, in bytes, so that the other side can say it: nobody looks at it.
const LONGEST_ANSWER: usize = 4096;
/// A receiver may ask for patience, but not for ever.
const LONGEST_PATIENCE: Duration = Duration::from_hours(24);

/// Addresses that belong together, written `10.0.0.0/8`, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Not of the form of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an address, or a network such as 10.0.0.0/8")]
pub struct InvalidNetwork;

/// Calls public addresses, and those of networks that the configuration allows.
#[derive(Clone)]
pub struct Egress {
    client: reqwest::Client,
    allowed: Arc<[Network]>,
}

pub(crate) struct Message<'a> {
    pub(crate) url: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long the other side wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The address is none that may be called.
    Blocked,
    Unresolved,
    TimedOut,
    Unreachable,
}

impl Egress {
    /// # Errors
    /// Where the roots of trust of this machine cannot be read.
    pub fn new(allowed: Vec<Network>) -> anyhow::Result<Self> {
        let allowed: Arc<[Network]> = allowed.into();
        let client = reqwest::Client::builder()
            .dns_resolver(Guard { allowed: allowed.clone() })
            .redirect(Policy::none())
            .no_proxy()
            // A connection that is kept would be of an address that was looked at long ago.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(TIME_LIMIT)
            .user_agent("voxmill")
            .build()
            .context("could not make the client of webhooks")?;
        Ok(Self { client, allowed })
    }

    /// Posts the message, once: no redirect is followed.
    pub(crate) async fn post(&self, message: Message<'_>) -> Result<Answer, Silence> {
        let url = reqwest::Url::parse(message.url).map_err(|_| Silence::Blocked)?;
        // An address in the place of a name is never resolved, so the resolver does not see it.
        if address_of(&url).is_some_and(|address| !may_call(address, &self.allowed)) {
            return Err(Silence::Blocked);
        }
        let request = self.client.post(url).headers(message.headers).body(message.body);
        let mut response = request.send().await.map_err(|error| Silence::of(&error))?;
        let answer =
            Answer { status: response.status().as_u16(), retry_after: retry_after(response.headers()) };
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read >= LONGEST_ANSWER {
                break;
            }
        }
        Ok(answer)
    }
}

impl Silence {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Blocked => "address_blocked",
            Self::Unresolved => "name_not_resolved",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "connection_failed",
        }
    }

    fn of(error: &reqwest::Error) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return match refusal {
                    Refusal::Blocked => Self::Blocked,
                    Refusal::Unresolved => Self::Unresolved,
                };
            }
            cause = error.source();
        }
        if error.is_timeout() { Self::TimedOut } else { Self::Unreachable }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| one()).map(Self).map_err(|_| InvalidNetwork)
    }
}

/// Resolves names to the addresses that may be called.
struct Guard {
    allowed: Arc<[Network]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the name leads to no address that may be called")]
    Blocked,
    #[error("the name leads nowhere")]
    Unresolved,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| Refusal::Unresolved)?;
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(Refusal::Unresolved.into());
            }
            let open: Vec<SocketAddr> =
                found.into_iter().filter(|address| may_call(address.ip(), &allowed)).collect();
            if open.is_empty() {
                return Err(Refusal::Blocked.into());
            }
            let open: Addrs = Box::new(open.into_iter());
            Ok(open)
        })
    }
}

/// The address that the URL names by number.
fn address_of(url: &reqwest::Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn may_call(address: IpAddr, allowed: &[Network]) -> bool {
    let meant = meant(address);
    is_public(meant) || allowed.iter().any(|Network(network)| network.contains(&meant))
}

/// The address of IPv4 that one of IPv6 stands for: mapped, translated (NAT64) or tunnelled (6to4).
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let four = |high: u16, low: u16| IpAddr::from(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => address,
    }
}

/// Whether the address is one of a single machine somewhere on the Internet, by the registries of special addresses of
/// IANA.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const RESERVED: [(Ipv4Addr, u8); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        // Between the machines of a carrier.
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        // Also where clouds tell a machine its secrets.
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
    ];
    let bits = u32::from(address);
    !RESERVED.iter().any(|(start, length)| (bits ^ u32::from(*start)) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let is_unicast = segments[0] & 0xe000 == 0x2000;
    let is_protocol = segments[0] == 0x2001 && segments[1] < 0x200;
    let is_documentation =
        (segments[0] == 0x2001 && segments[1] == 0xdb8) || (segments[0] == 0x3fff && segments[1] < 0x1000);
    is_unicast && !is_protocol && !is_documentation
}

/// In seconds, or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            (date.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_PATIENCE))
}

#[cfg(test)]
mod tests;
