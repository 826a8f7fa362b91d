//! Against guessing: failed logins by account and by address, registrations by address.

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mesh_protocol::UserId;
use quick_cache::sync::Cache;

use crate::{
    app::App,
    domain::bucket::Bucket,
    error::{Error, Result},
};

/// Accounts and addresses remembered at most, of each kind; the ones not seen for longest are forgotten.
const REMEMBERED: usize = 50_000;
/// An address may fail so many times as often as an account: many people share one behind a router.
const ADDRESS_FACTOR: u32 = 10;
/// Buckets refill by the second, limits are by the minute: an attempt costs sixty.
const MINUTE: u32 = 60;
/// As many by the hour.
const HOUR: u32 = 3_600;

/// So many attempts at once, and as many again in a time.
struct Attempts<K> {
    attempts: u32,
    /// That time, in seconds; also what an attempt costs.
    cost: u32,
    buckets: Cache<K, Arc<Mutex<Bucket>>>,
}

impl<K: Eq + Hash + Clone> Attempts<K> {
    fn new(attempts: u32, seconds: u32) -> Self {
        Self { attempts, cost: seconds, buckets: Cache::new(REMEMBERED) }
    }

    fn bucket(&self, key: &K, now_ms: u64) -> Arc<Mutex<Bucket>> {
        if let Some(bucket) = self.buckets.get(key) {
            return bucket;
        }
        let burst = self.attempts.saturating_mul(self.cost);
        let bucket = Arc::new(Mutex::new(Bucket::new(self.attempts, burst, now_ms)));
        self.buckets.insert(key.clone(), bucket.clone());
        bucket
    }

    fn take(&self, key: &K, now_ms: u64) -> Result<(), u64> {
        self.bucket(key, now_ms).lock().unwrap_or_else(PoisonError::into_inner).take(now_ms, self.cost)
    }

    fn give_back(&self, key: &K) {
        if let Some(bucket) = self.buckets.get(key) {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.cost);
        }
    }
}

/// What was tried lately.
pub struct Limits {
    accounts: Attempts<String>,
    addresses: Attempts<IpAddr>,
    registrations: Attempts<IpAddr>,
    /// Only who knows the password, or is logged in, gets here: nobody else can use this up.
    second_factors: Attempts<UserId>,
}

impl Limits {
    /// Limits of so many failed logins a minute for an account, and so many wrong second factors an hour.
    pub fn new(attempts: u32) -> Self {
        let by_address = attempts.saturating_mul(ADDRESS_FACTOR);
        Self {
            accounts: Attempts::new(attempts, MINUTE),
            addresses: Attempts::new(by_address, MINUTE),
            registrations: Attempts::new(by_address, MINUTE),
            second_factors: Attempts::new(attempts, HOUR),
        }
    }
}

/// A login that is being tried: it counts as failed unless [`Attempt::succeeded`] is said.
pub(super) struct Attempt<'a> {
    limits: &'a Limits,
    account: String,
    address: IpAddr,
    /// Whose second factor is shown.
    second_factor: Option<UserId>,
}

impl Attempt<'_> {
    /// It was no guess: it does not count.
    pub(super) fn succeeded(self) {
        self.limits.accounts.give_back(&self.account);
        self.limits.addresses.give_back(&self.address);
        if let Some(user) = self.second_factor {
            self.limits.second_factors.give_back(&user);
        }
    }
}

/// Begins a login; `name` need not be anybody's, so that the limit tells nothing of who there is.
///
/// # Errors
/// 429 where the account or the address has failed too often.
pub(super) fn begin_login<'a>(app: &'a App, name: &str, ip: IpAddr) -> Result<Attempt<'a>> {
    let limits = &app.limits;
    let now = now_ms(app);
    let account: String = name.chars().take(64).collect::<String>().to_lowercase();
    let address = network(ip);
    limits.addresses.take(&address, now).map_err(refused)?;
    if let Err(wait) = limits.accounts.take(&account, now) {
        // The account's limit stopped it: it says nothing of the address.
        limits.addresses.give_back(&address);
        return Err(refused(wait));
    }
    Ok(Attempt { limits, account, address, second_factor: None })
}

/// Begins what asks for a code of `user`'s second factor. Besides the limit of logins it has a slower one of its own: of
/// the million codes three are right at any time, and who knows the password could try for weeks. A right password
/// gives nothing of it back.
///
/// # Errors
/// 429 where the account, its second factor or the address has failed too often.
pub(super) fn begin_second_factor<'a>(app: &'a App, user: UserId, name: &str, ip: IpAddr) -> Result<Attempt<'a>> {
    let attempt = begin_login(app, name, ip)?;
    if let Err(wait) = app.limits.second_factors.take(&user, now_ms(app)) {
        // Nothing is looked at: it counts as no failure of the others.
        attempt.succeeded();
        return Err(refused(wait));
    }
    Ok(Attempt { second_factor: Some(user), ..attempt })
}

/// Counts a registration.
///
/// # Errors
/// 429 where the address has made too many.
pub(super) fn begin_registration(app: &App, ip: IpAddr) -> Result<()> {
    app.limits.registrations.take(&network(ip), now_ms(app)).map_err(refused)
}

fn now_ms(app: &App) -> u64 {
    u64::try_from(app.clock.now_ms()).unwrap_or(0)
}

fn refused(wait_ms: u64) -> Error {
    Error::rate_limited("too many attempts; wait a little", Duration::from_millis(wait_ms.clamp(1, 3_600_000)))
}

/// An IPv6 customer has a /64 at least: its addresses count as one.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_run_out_and_come_back_and_successes_cost_nothing() {
        let limits = Attempts::new(10, MINUTE);
        for _ in 0..100 {
            limits.take(&"ana", 0).unwrap();
            limits.give_back(&"ana");
        }
        for _ in 0..10 {
            limits.take(&"ana", 0).unwrap();
        }
        let wait = limits.take(&"ana", 0).unwrap_err();
        assert!((5_000..=7_000).contains(&wait), "{wait}");
        assert!(limits.take(&"ben", 0).is_ok());
        assert!(limits.take(&"ana", wait).is_ok());
        assert!(limits.take(&"ana", wait).is_err());
    }

    #[test]
    fn a_customers_addresses_count_as_one() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("2001:db8:1:2:3::4"), parse("2001:db8:1:2:ffff::1"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_ne!(parse("192.0.2.1"), parse("192.0.2.2"));
    }
}
