//! Where connections come from.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::Settings;

/// How much of an answer the kernel holds that it has not sent yet.
///
/// With it a socket is writable again when half of this is sent, instead of a third of a send buffer that grows to
/// megabytes. So a client that reads at 5 kB/s makes visible progress within the write time-out, and one that does not
/// read costs little memory.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;

/// A process never needs more files than the largest connection cap and its own.
const MAX_OPEN_FILES: u64 = (1 << 20) + (1 << 16);

/// Where connections come from; a test brings its own.
pub trait Listener: Send {
    /// One connection's bytes.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection and the peer's address. Dropping the future must lose no connection.
    ///
    /// # Errors
    /// When the connection, or the listener for a while, is of no use. The caller pauses and tries again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // An answer is written whole, so there is nothing to wait for.
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(MAX_UNSENT_BYTES)?;
        // An IPv4 peer on an IPv6 socket is still an IPv4 peer.
        Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
    }
}

/// Listens where the settings say.
///
/// Without an address it is all interfaces, through IPv6 where the machine has it and through IPv4 otherwise.
///
/// # Errors
/// When the address cannot be had, such as a port in use.
pub async fn bind(settings: &Settings) -> io::Result<TcpListener> {
    let listen = |address: IpAddr| TcpListener::bind(SocketAddr::new(address, settings.port));
    match settings.listen_address {
        Some(address) => listen(address).await,
        None => match listen(Ipv6Addr::UNSPECIFIED.into()).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => listen(Ipv4Addr::UNSPECIFIED.into()).await,
            listening => listening,
        },
    }
}

/// Whether an accept failed because of the one connection, so that the next one is worth trying at once.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}

/// Raises the soft limit of open files to the hard one (many systems start with 1,024, for the sake of `select(2)`),
/// and warns when even that is less than the connection cap.
pub(super) fn raise_open_file_limit(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(MAX_OPEN_FILES, |maximum| maximum.min(MAX_OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot raise the limit of open files");
    }
    if wanted < max_connections as u64 {
        tracing::warn!(open_files = wanted, max_connections, "fewer files may be open than connections are allowed");
    }
}
