//! `docstore healthcheck`: asks the server beside it whether it is ready. For images that hold no other program.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use docstore_settings::{Environment, Invalid};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long the whole check may take: container runtimes give it five seconds and end it rudely then.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// As much of the answer as says what the status is: `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// Why the server does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The environment does not say where the server listens.
    #[error(transparent)]
    Settings(#[from] Invalid),
    /// It cannot be reached, or hung up.
    #[error("the server at {0} does not answer")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// It takes too long.
    #[error("the server at {0} did not answer within {seconds} seconds", seconds = CHECK_TIMEOUT.as_secs())]
    TimedOut(SocketAddr),
    /// It says so itself.
    #[error("the server at {0} is not ready: it answers {1}")]
    Refused(SocketAddr, String),
}

/// Asks `GET /readyz` of the server that this environment configures, within three seconds.
///
/// # Errors
/// When the answer is anything but 200, or there is none.
pub async fn healthcheck(environment: &Environment) -> Result<(), NotReady> {
    let address = server_address(environment)?;
    match timeout(CHECK_TIMEOUT, ask(address)).await {
        Err(_) => Err(NotReady::TimedOut(address)),
        Ok(Err(error)) => Err(NotReady::Unreachable(address, error)),
        Ok(Ok(status)) if status.ends_with(" 200") => Ok(()),
        Ok(Ok(status)) => Err(NotReady::Refused(address, status)),
    }
}

/// Where a server on this machine listens that has this environment.
fn server_address(environment: &Environment) -> Result<SocketAddr, Invalid> {
    let ip = match environment.parsed::<IpAddr>("LISTEN_ADDRESS")? {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Some(ip) => ip,
    };
    Ok(SocketAddr::new(ip, environment.parsed_or("PORT", docstore_service::Settings::default().port)?))
}

/// The beginning of the answer, up to its status.
async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = [0; STATUS_BYTES];
    connection.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, task::JoinHandle};

    use super::*;

    /// Something that listens; with an answer it gives that to the first who comes, without one it says nothing.
    async fn listener(answer: Option<&'static str>) -> (Environment, JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let environment = Environment::from_iter([("PORT", listener.local_addr().unwrap().port().to_string())]);
        let heard = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = connection.read(&mut request).await.unwrap();
            match answer {
                Some(answer) => connection.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (environment, heard)
    }

    #[tokio::test]
    async fn only_200_is_ready() {
        let (environment, heard) = listener(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
        healthcheck(&environment).await.unwrap();
        let request = heard.await.unwrap();
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n", "SSH-2.0-Open\r\n"]
        {
            let (environment, _) = listener(Some(answer)).await;
            let refused = healthcheck(&environment).await.unwrap_err();
            assert!(matches!(refused, NotReady::Refused(..)), "{answer}: {refused}");
        }
        let (environment, _) = listener(Some("HTTP/1.1")).await;
        assert!(matches!(healthcheck(&environment).await, Err(NotReady::Unreachable(..))), "half an answer");
    }

    #[tokio::test]
    async fn nobody_there_is_not_ready() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        let environment = Environment::from_iter([("PORT", free.to_string())]);
        assert!(matches!(healthcheck(&environment).await, Err(NotReady::Unreachable(..))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let (environment, _heard) = listener(None).await;
        assert!(matches!(healthcheck(&environment).await, Err(NotReady::TimedOut(_))));
    }

    #[test]
    fn the_server_is_where_its_environment_puts_it() {
        for (pairs, address) in [
            (&[][..], "127.0.0.1:8080"),
            (&[("PORT", "9000")], "127.0.0.1:9000"),
            (&[("LISTEN_ADDRESS", "0.0.0.0")], "127.0.0.1:8080"),
            (&[("LISTEN_ADDRESS", "::")], "[::1]:8080"),
            (&[("LISTEN_ADDRESS", "10.1.2.3"), ("PORT", "81")], "10.1.2.3:81"),
        ] {
            let environment = Environment::from_iter(pairs.iter().copied());
            assert_eq!(server_address(&environment).unwrap().to_string(), address);
        }
        assert!(server_address(&Environment::from_iter([("PORT", "x")])).is_err());
    }
}
