//! The system's resolver. It blocks a thread for as long as a name server takes, and whoever runs one decides how long that
//! is: so each session has few threads in it, and all sessions together leave most for everything else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long finding out the addresses of a name may take, waiting for a thread included.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// Names of one session that are asked for at once.
pub(crate) const LOOKUPS: usize = 16;
/// Names of all sessions that are asked for at once; less than half of the threads of [`crate::serve`].
const LOOKUPS_IN_ALL: usize = 384;
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;
/// Largest hosts file that is read.
const MOST_HOSTS: u64 = 4 << 20;

static IN_ALL: Semaphore = Semaphore::const_new(LOOKUPS_IN_ALL);

/// The real addresses of a name.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub addresses: Vec<IpAddr>,
    /// The user's own hosts file says so: nobody else can turn the name to another address.
    pub by_hosts_file: bool,
}

/// One session's way to the resolver.
#[derive(Debug)]
pub(crate) struct Resolver {
    places: Arc<Semaphore>,
    limit: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LOOKUPS)), limit: RESOLVE_LIMIT }
    }
}

impl Resolver {
    /// The real addresses of a name.
    ///
    /// # Errors
    /// Why there are none, as a part of a sentence.
    pub async fn resolve(&self, name: &str) -> Result<Resolved, String> {
        let name = name.to_owned();
        self.within_limits(move || look_up(&name)).await
    }

    async fn within_limits(
        &self,
        look_up: impl FnOnce() -> std::io::Result<Resolved> + Send + 'static,
    ) -> Result<Resolved, String> {
        let looked = async {
            let places = self.places().await?;
            let looked = tokio::task::spawn_blocking(move || {
                let found = look_up();
                // A thread that nobody waits for any more still is one.
                drop(places);
                found
            });
            looked.await.map_err(|_| "an internal error of the broker".to_owned())?.map_err(|e| e.to_string())
        };
        match tokio::time::timeout(self.limit, looked).await {
            Err(_) => Err("the resolver does not answer".to_owned()),
            Ok(Ok(resolved)) if resolved.addresses.is_empty() => Err("it has no address".to_owned()),
            Ok(looked) => looked,
        }
    }

    async fn places(&self) -> Result<(OwnedSemaphorePermit, tokio::sync::SemaphorePermit<'static>), String> {
        let closed = |_| "the session has ended".to_owned();
        let own = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        Ok((own, IN_ALL.acquire().await.map_err(closed)?))
    }
}

/// By the system's resolver, whatever the user set it up to be.
fn look_up(name: &str) -> std::io::Result<Resolved> {
    use std::net::ToSocketAddrs;
    let by_file = std::fs::File::open("/etc/hosts").and_then(|file| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST_HOSTS), &mut text)?;
        Ok(hosts_file_addresses(&text, name))
    });
    // Without a hosts file there is nothing that it says.
    let by_file = by_file.unwrap_or_default();
    if !by_file.is_empty() {
        return Ok(Resolved { addresses: by_file, by_hosts_file: true });
    }
    // A dot at the end keeps the machine's search domains out of it.
    let mut addresses: Vec<IpAddr> =
        (format!("{name}."), 0).to_socket_addrs()?.map(|a| a.ip().to_canonical()).collect();
    // IPv4 first: it works everywhere.
    addresses.sort();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    Ok(Resolved { addresses, by_hosts_file: false })
}

fn hosts_file_addresses(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|w| w.eq_ignore_ascii_case(name)) && found.len() < MOST_ADDRESSES {
            found.push(ip.to_canonical());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use parking_lot::Mutex;

    use super::*;

    /// Threads of the runtime that the tests have to share.
    const THREADS: usize = LOOKUPS + 8;

    /// What many names below a name server that does not answer do to another session: how its own name is resolved.
    fn with_tarpit(slots: usize) -> Result<Resolved, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(THREADS)
            .enable_all()
            .build()
            .unwrap();
        let (release, held): (Sender<()>, Receiver<()>) = channel();
        let held = Arc::new(Mutex::new(held));
        let stuck_threads = Arc::new(AtomicUsize::new(0));
        let seconds = Duration::from_secs;
        let attacker = Arc::new(Resolver { places: Arc::new(Semaphore::new(slots)), limit: seconds(3600) });
        let resolved = runtime.block_on(async {
            for _ in 0..4 * THREADS {
                let (attacker, held) = (Arc::clone(&attacker), Arc::clone(&held));
                let stuck_threads = Arc::clone(&stuck_threads);
                let stuck = move || {
                    stuck_threads.fetch_add(1, Ordering::SeqCst);
                    // Until the other end is dropped.
                    held.lock().recv().ok();
                    Err(std::io::ErrorKind::TimedOut.into())
                };
                tokio::spawn(async move { attacker.within_limits(stuck).await });
            }
            // A place is taken before its thread is: only a thread that runs is one that is held.
            while stuck_threads.load(Ordering::SeqCst) < THREADS.min(slots) {
                tokio::task::yield_now().await;
            }
            // Where every thread is held it never comes; else it comes at once.
            let limit = if slots > THREADS { Duration::from_millis(100) } else { seconds(60) };
            let other = Resolver { limit, ..Resolver::default() };
            let found = Resolved { addresses: vec![Ipv4Addr::LOCALHOST.into()], by_hosts_file: false };
            other.within_limits(move || Ok(found)).await
        });
        drop(release);
        runtime.shutdown_background();
        resolved
    }

    #[test]
    fn a_name_server_that_does_not_answer_holds_up_only_its_own_session() {
        assert!(with_tarpit(LOOKUPS).is_ok());
        assert!(with_tarpit(8 * THREADS).is_err(), "what happens to a session without such a limit");
    }

    #[test]
    fn a_name_that_takes_too_long_has_no_address_and_keeps_its_place_until_its_thread_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (release, held) = channel::<()>();
        let resolver = Resolver { limit: Duration::from_millis(20), ..Resolver::default() };
        let stuck = move || {
            held.recv().ok();
            Err(std::io::ErrorKind::TimedOut.into())
        };
        let why = runtime.block_on(resolver.within_limits(stuck)).unwrap_err();
        assert!(why.contains("does not answer"), "{why}");
        assert_eq!(resolver.places.available_permits(), LOOKUPS - 1);
        drop(release);
        runtime.block_on(async {
            while resolver.places.available_permits() < LOOKUPS {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn the_hosts_file_is_read_as_the_system_reads_it() {
        let text = "# 1.1.1.1 a.example\n10.0.0.1 A.Example b # a.example\n::1 a.example\nbroken a.example\n";
        assert_eq!(
            hosts_file_addresses(text, "a.example"),
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert!(hosts_file_addresses(text, "c").is_empty());
    }
}
