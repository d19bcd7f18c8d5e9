//! How many requests in how long: the figures of the contract, each of which the configuration may change.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use storage::users::Role;

use crate::throttle::Class;

const MINUTE: Duration = Duration::from_secs(60);
const UNITS: [(&str, Duration); 3] =
    [("s", Duration::from_secs(1)), ("min", MINUTE), ("h", Duration::from_secs(3600))];
/// Most requests of a rate, so that the time of one stays above the clock's resolution.
const MOST: u32 = 1_000_000;

/// So many requests in a period, written `5/min`: all of them at once, and each that is used up is there again a fifth of
/// a minute later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    requests: NonZeroU32,
    period: Duration,
}

/// Not of the form of a [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be written as 5/min: a number from 1 to {MOST}, and s, min or h")]
pub struct InvalidRate;

/// The rates of requests by what they ask for. Each user has each of them, and so has each address from which nobody who
/// is logged in calls.
#[derive(Clone, Debug)]
pub struct Rates {
    /// To register, log in, refresh and log out, of one address.
    pub auth: Rate,
    /// The same at the paths under `/auth`.
    pub voiceera_auth: Rate,
    /// Uploads begun.
    pub uploads: Rate,
    /// Requests that make jobs.
    pub processing: Rate,
    /// Job status and events, the bytes of files, and parts of uploads.
    pub wide: Rate,
    /// What is open to guests, of one address.
    pub guests: Rate,
    /// Kilobytes of call logs imported; what is sent faster is taken no faster.
    pub imports: Rate,
    /// Everything else.
    pub other: Rate,
    /// Of users of a role: one count for all that they do, in place of those above but of the ones of an address and of
    /// the wide one.
    pub roles: Vec<(Role, Rate)>,
}

impl Rates {
    pub(crate) fn of(&self, class: Class) -> Rate {
        match class {
            Class::Auth => self.auth,
            Class::VoiceeraAuth => self.voiceera_auth,
            Class::Uploads => self.uploads,
            Class::Processing => self.processing,
            Class::Wide => self.wide,
            Class::Guests => self.guests,
            Class::Imports => self.imports,
            Class::Other => self.other,
        }
    }

    /// None where the role has none of its own.
    pub(crate) fn of_role(&self, role: Role) -> Option<Rate> {
        self.roles.iter().find(|(named, _)| *named == role).map(|(_, rate)| *rate)
    }
}

impl Rate {
    /// So many a minute. More than a million are a million.
    pub fn per_minute(requests: NonZeroU32) -> Self {
        let most = NonZeroU32::new(MOST).expect("a million is not zero. This is a bug.");
        Self { requests: requests.min(most), period: MINUTE }
    }

    pub(crate) fn requests(self) -> NonZeroU32 {
        self.requests
    }

    pub(crate) fn period(self) -> Duration {
        self.period
    }

    /// How long it takes for one request to be there again.
    pub(crate) fn interval(self) -> Duration {
        self.period / self.requests.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(_, period)| *period == self.period);
        let (unit, _) = unit.expect("a rate is of one of the units. This is a bug.");
        write!(formatter, "{}/{unit}", self.requests)
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (requests, unit) = text.split_once('/').ok_or(InvalidRate)?;
        let requests = requests.trim().parse::<NonZeroU32>().map_err(|_| InvalidRate)?;
        let (_, period) = UNITS.into_iter().find(|(name, _)| *name == unit.trim()).ok_or(InvalidRate)?;
        if requests.get() > MOST {
            return Err(InvalidRate);
        }
        Ok(Self { requests, period })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{InvalidRate, Rate};

    #[test]
    fn a_rate_is_a_count_and_a_unit() {
        for (text, requests, seconds) in [("5/min", 5, 60), ("10/h", 10, 3600), (" 1 / s", 1, 1)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.requests().get(), rate.period()), (requests, Duration::from_secs(seconds)));
            assert_eq!(rate.to_string(), text.replace(' ', ""));
        }
        for text in ["", "5", "/min", "0/min", "-1/min", "1.5/min", "5/day", "5/", "1000001/s", "5/min/h"] {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text}");
        }
    }
}
