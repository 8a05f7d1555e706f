//! Bounds on what one client can do to the others: failed logins, and requests at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who is counted, of failed logins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    /// Somebody at an address who gives a user's name.
    Pair(IpAddr, String),
    /// Anybody at an address.
    Address(IpAddr),
    /// Anybody who gives a user's name.
    Name(String),
}

impl Suspect {
    /// How many failures are free, and how long the wait becomes at most. Addresses are shared by proxies
    /// and names by attackers with their victims: both are held up briefly only.
    const fn patience(&self) -> (u32, Duration) {
        match self {
            Self::Pair(..) => (5, Duration::from_secs(300)),
            Self::Address(_) => (30, Duration::from_secs(10)),
            Self::Name(_) => (100, Duration::from_secs(10)),
        }
    }
}

struct Count {
    failures: u32,
    last: Instant,
}

/// Failed logins, forgotten after a quarter of an hour without one.
#[derive(Default)]
pub(super) struct Failures {
    counts: Mutex<HashMap<Suspect, Count>>,
}

/// When a count is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// How many counts are kept.
const COUNTS: usize = 20_000;

impl Failures {
    fn suspects(address: IpAddr, name: &str) -> [Suspect; 3] {
        let name: String = name.chars().take(255).collect();
        [Suspect::Pair(address, name.clone()), Suspect::Address(address), Suspect::Name(name)]
    }

    /// How long this one has to wait before it may try again.
    pub(super) fn wait(&self, address: IpAddr, name: &str, now: Instant) -> Option<Duration> {
        let counts = lock(&self.counts);
        let waits = Self::suspects(address, name).into_iter().filter_map(|suspect| {
            let count = counts.get(&suspect)?;
            let (free, most) = suspect.patience();
            let beyond = count.failures.checked_sub(free)?;
            let wait = Duration::from_secs(1 << beyond.min(20)).min(most);
            (count.last + wait).checked_duration_since(now).filter(|left| !left.is_zero())
        });
        waits.max()
    }

    /// A login failed.
    pub(super) fn failed(&self, address: IpAddr, name: &str, now: Instant) {
        let mut counts = lock(&self.counts);
        if counts.len() >= COUNTS {
            counts.retain(|_, count| now.duration_since(count.last) < FORGET);
        }
        if counts.len() >= COUNTS {
            counts.clear();
        }
        for suspect in Self::suspects(address, name) {
            let count = counts.entry(suspect).or_insert(Count { failures: 0, last: now });
            if now.duration_since(count.last) >= FORGET {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
    }

    /// A login went well: this pair is trusted again.
    pub(super) fn succeeded(&self, address: IpAddr, name: &str) {
        let [pair, ..] = Self::suspects(address, name);
        lock(&self.counts).remove(&pair);
    }
}

/// A client, of requests under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// A user.
    Account(i64),
    /// Somebody at an address.
    Address(IpAddr),
}

/// Requests under way, by client.
pub(super) struct Crowd {
    most: usize,
    under_way: Arc<Mutex<HashMap<Client, usize>>>,
}

/// A request under way, until it is dropped.
pub(super) struct Place {
    client: Client,
    under_way: Arc<Mutex<HashMap<Client, usize>>>,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Self {
        Self { most, under_way: Arc::default() }
    }

    /// Lets one more request of a client in, unless it has too many already.
    pub(super) fn enter(&self, client: Client) -> Option<Place> {
        let mut under_way = lock(&self.under_way);
        let count = under_way.entry(client).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { client, under_way: self.under_way.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        if let Some(count) = under_way.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.client);
            }
        }
    }
}

/// Numbers are never half written: whoever panicked has left them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn each_failure_beyond_the_free_ones_doubles_the_wait_of_that_pair() {
        let failures = Failures::default();
        let start = Instant::now();
        for _ in 0..4 {
            failures.failed(HERE, "ada", start);
        }
        assert_eq!(failures.wait(HERE, "ada", start), None);
        for seconds in [1, 2, 4, 8] {
            failures.failed(HERE, "ada", start);
            assert_eq!(failures.wait(HERE, "ada", start), Some(Duration::from_secs(seconds)));
            assert_eq!(failures.wait(HERE, "ada", start + Duration::from_secs(seconds)), None);
        }
        assert_eq!(failures.wait(THERE, "ada", start), None, "the user itself is elsewhere");
        assert_eq!(failures.wait(HERE, "eve", start), None);
        failures.succeeded(HERE, "ada");
        assert_eq!(failures.wait(HERE, "ada", start), None);
    }

    #[test]
    fn an_address_that_tries_many_names_waits_too_and_all_is_forgotten_in_time() {
        let failures = Failures::default();
        let start = Instant::now();
        for i in 0..40 {
            failures.failed(HERE, &format!("user{i}"), start);
        }
        assert_eq!(failures.wait(HERE, "ada", start), Some(Duration::from_secs(10)));
        failures.failed(HERE, "ada", start + FORGET);
        assert_eq!(failures.wait(HERE, "ada", start + FORGET), None);
    }

    #[test]
    fn one_client_has_so_many_places_and_gives_them_back() {
        let crowd = Crowd::new(2);
        let client = Client::Account(1);
        let places = [crowd.enter(client), crowd.enter(client)];
        assert!(places.iter().all(Option::is_some));
        assert!(crowd.enter(client).is_none());
        assert!(crowd.enter(Client::Address(HERE)).is_some(), "another one has its own");
        drop(places);
        assert!(crowd.enter(client).is_some());
        assert!(lock(&crowd.under_way).is_empty());
    }
}
