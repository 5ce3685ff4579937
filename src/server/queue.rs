//! Requests that wait for the engine: first come, first served, in turns among clients, so that nobody waits for all that another has
//! sent at once.

use super::engine::Job;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use tokio::sync::mpsc;

/// Who asks: the address that a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(pub(crate) IpAddr);

impl Default for Client {
    fn default() -> Self {
        Self(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// The engine's end of the queue.
pub(crate) struct Queue {
    arriving: mpsc::UnboundedReceiver<Job>,
    /// In the order of their turns.
    pub(super) waiting: VecDeque<Job>,
}

impl Queue {
    /// An empty queue, and the way into it. How many may wait is for those who send to know.
    pub(crate) fn new() -> (mpsc::UnboundedSender<Job>, Self) {
        let (sender, arriving) = mpsc::unbounded_channel();
        (sender, Self { arriving, waiting: VecDeque::new() })
    }

    /// The next request, once there is one; none when nobody can ask any more.
    pub(crate) fn next(&mut self) -> Option<Job> {
        self.take_in();
        self.waiting.pop_front().or_else(|| self.arriving.blocking_recv())
    }

    /// Gives what has arrived its turns.
    pub(crate) fn take_in(&mut self) {
        while let Ok(job) = self.arriving.try_recv() {
            let turn = turn(self.waiting.iter().map(|job| job.client), job.client);
            self.waiting.insert(turn, job);
        }
    }
}

/// Where a request of `client` stands among those of `others`: a client's second behind everybody's first, and so on.
fn turn(others: impl Iterator<Item = Client> + Clone, client: Client) -> usize {
    let n_before = others.clone().filter(|other| *other == client).count();
    let mut seen = HashMap::new();
    let is_later = |other: Client| {
        let n_seen = seen.entry(other).or_insert(0);
        *n_seen += 1;
        *n_seen > n_before + 1
    };
    let len = others.clone().count();
    others.map(is_later).position(|is_later| is_later).unwrap_or(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in which requests of these clients, which come one after the other, are served.
    fn served(arriving: &str) -> String {
        let client = |name: char| Client(IpAddr::from([127, 0, 0, name as u8]));
        let mut waiting: Vec<char> = Vec::new();
        for name in arriving.chars() {
            waiting.insert(turn(waiting.iter().map(|name| client(*name)), client(name)), name);
        }
        waiting.into_iter().collect()
    }

    #[test]
    fn clients_take_turns() {
        for (arriving, wanted) in [
            ("", ""),
            ("aaaa", "aaaa"),
            ("aaaab", "abaaa"),
            ("aaaabb", "ababaa"),
            ("abcabc", "abcabc"),
            ("aaabcb", "abcaba"),
            ("aabbccd", "abcdabc"),
        ] {
            assert_eq!(served(arriving), wanted, "{arriving}");
        }
    }
}
