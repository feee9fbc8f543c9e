//! Who gets a connection.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use docstore_models::ErrorCode;
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{Limits, wire_json};

/// How many surplus connections are told why at the same time; the others are closed without a word, so that a flood
/// of them costs nothing.
const MAX_EXPLAINED: usize = 64;

/// How long a surplus connection gets to take its answer.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What is read of a surplus connection's request before it is closed, so that closing does not destroy the answer.
const MAX_IGNORED_BYTES: u64 = 64 * 1024;

/// The connection caps.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    explained: Arc<Semaphore>,
    /// Zero means no cap.
    per_peer: usize,
    peers: Arc<Peers>,
}

/// How many connections each peer has; a peer without any has no entry, so the table is as bounded as the slots.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// Held while a connection is open.
#[derive(Debug)]
pub(super) struct Slot {
    peer: Option<IpAddr>,
    peers: Arc<Peers>,
    _slot: OwnedSemaphorePermit,
}

/// Which cap a connection is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surplus {
    OfAll,
    OfPeer,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
            explained: Arc::new(Semaphore::new(MAX_EXPLAINED)),
            per_peer: limits.max_connections_per_peer,
            peers: Arc::default(),
        }
    }

    pub(super) fn admit(&self, peer: IpAddr) -> Result<Slot, Surplus> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| Surplus::OfAll)?;
        let peer = (self.per_peer > 0).then(|| block_of(peer));
        if let Some(peer) = peer {
            let mut peers = self.peers.lock();
            let open = peers.entry(peer).or_default();
            if *open >= self.per_peer {
                return Err(Surplus::OfPeer);
            }
            *open += 1;
        }
        metrics::gauge!("docstore_connections").increment(1.0);
        Ok(Slot { peer, peers: self.peers.clone(), _slot: slot })
    }

    /// Leave to explain, if not too many others are being explained to.
    pub(super) fn may_explain(&self) -> Option<OwnedSemaphorePermit> {
        self.explained.clone().try_acquire_owned().ok()
    }
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code that holds the lock can panic between two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        metrics::gauge!("docstore_connections").decrement(1.0);
        if let Some(peer) = self.peer {
            let mut peers = self.peers.lock();
            if let Some(open) = peers.get_mut(&peer) {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    peers.remove(&peer);
                }
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or the /64 that one IPv6 customer gets.
fn block_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Surplus {
    pub(super) fn limit(self) -> &'static str {
        match self {
            Self::OfAll => "connections",
            Self::OfPeer => "connections_per_peer",
        }
    }

    /// Answers without looking at the request, and closes.
    pub(super) async fn explain<IO: AsyncRead + AsyncWrite + Unpin>(self, mut io: IO) {
        let answer = self.answer();
        let _ = timeout(EXPLAIN_TIMEOUT, async {
            io.write_all(&answer).await?;
            io.shutdown().await?;
            tokio::io::copy(&mut io.take(MAX_IGNORED_BYTES), &mut tokio::io::sink()).await
        })
        .await;
    }

    fn answer(self) -> Vec<u8> {
        let (code, message) = match self {
            Self::OfAll => (ErrorCode::ServiceUnavailable, "too many connections, try again"),
            Self::OfPeer => (ErrorCode::TooManyRequests, "too many connections from this address"),
        };
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let body = wire_json(&serde_json::json!({"code": code, "error": message})).unwrap_or_default();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_gets_its_slots_back() {
        let admission =
            Admission::new(&Limits { max_connections: 3, max_connections_per_peer: 1, ..Limits::default() });
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        let slot = admission.admit(one).unwrap();
        assert_eq!(admission.admit(neighbour).unwrap_err(), Surplus::OfPeer);
        let _others = admission.admit(other).unwrap();
        drop(slot);
        assert_eq!(admission.peers.lock().len(), 1);
        drop(admission.admit(neighbour).unwrap());
    }

    #[test]
    fn the_total_is_capped() {
        let admission = Admission::new(&Limits { max_connections: 1, ..Limits::default() });
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let slot = admission.admit(peer).unwrap();
        assert_eq!(admission.admit(peer).unwrap_err(), Surplus::OfAll);
        drop(slot);
        admission.admit(peer).unwrap();
    }

    #[test]
    fn the_answers() {
        insta::assert_snapshot!(String::from_utf8(Surplus::OfAll.answer()).unwrap().replace('\r', ""), @r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/json
        connection: close
        retry-after: 1
        content-length: 73

        {"code":"SERVICE_UNAVAILABLE","error":"too many connections, try again"}
        "#);
        insta::assert_snapshot!(String::from_utf8(Surplus::OfPeer.answer()).unwrap().replace('\r', ""), @r#"
        HTTP/1.1 429 Too Many Requests
        content-type: application/json
        connection: close
        retry-after: 1
        content-length: 78

        {"code":"TOO_MANY_REQUESTS","error":"too many connections from this address"}
        "#);
    }
}
