use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;

/// What hyper would see of some bytes from a client that then closes: what was handed on, how it ended, and which
/// request was refused.
#[derive(Debug, PartialEq)]
struct Verdict {
    seen: Vec<u8>,
    broken_body: bool,
    refused: Option<Refusal>,
    heads: u64,
}

/// Gives the bytes in pieces. The read buffer has `room` bytes, as hyper's may be nearly full.
fn judge(pieces: &[&[u8]], room: usize) -> Verdict {
    let limits = Limits { max_header_bytes: 400, max_uri_bytes: 256, max_headers: 8, ..Limits::default() };
    let exchange = Arc::new(Exchange::default());
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let mut io = StrictIo::new(Pieces(pieces.into()), limits, exchange.clone());
    let mut seen = Vec::new();
    let mut broken_body = false;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut buffer = vec![0; room];
        loop {
            // After a refusal nothing more is handed on, and the stream waits to be closed.
            let read = std::future::poll_fn(|cx| {
                let mut out = ReadBuf::new(&mut buffer);
                let polled = Pin::new(&mut io).poll_read(cx, &mut out);
                let count = out.filled().len();
                Poll::Ready(match polled {
                    Poll::Ready(Ok(())) => Some(Ok(count)),
                    Poll::Ready(Err(error)) => Some(Err(error)),
                    Poll::Pending => None,
                })
            })
            .await;
            match read {
                Some(Ok(0)) | None => break,
                Some(Ok(count)) => seen.extend_from_slice(&buffer[..count]),
                Some(Err(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    broken_body = true;
                    break;
                }
            }
        }
    });
    let (guard, _) = exchange.serve();
    drop(guard);
    let heads = exchange.begun_for_test();
    Verdict { seen, broken_body, refused: exchange.refused_for_test(), heads }
}

/// A socket that gives one piece per read.
struct Pieces(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while let Some(mut piece) = self.0.pop_front() {
            if piece.is_empty() {
                continue;
            }
            let rest = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            break;
        }
        Poll::Ready(Ok(()))
    }
}

fn whole(bytes: &[u8]) -> Verdict {
    judge(&[bytes], 64 * 1024)
}

#[test]
fn good_requests_pass_as_they_are() {
    let bytes = b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n0\r\n\r\n\
        GET /c HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(whole(bytes), Verdict { seen: bytes.to_vec(), broken_body: false, refused: None, heads: 3 });
}

#[test]
fn a_bad_head_is_replaced_whole_and_nothing_follows() {
    let good = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let bad = b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        whole(&[&good[..], bad].concat()),
        Verdict {
            seen: [good, MADE_UP_REQUEST].concat(),
            broken_body: false,
            refused: Some(Refusal::BareLineFeed),
            heads: 2
        }
    );
}

#[test]
fn a_body_is_handed_on_up_to_the_byte_that_breaks_it() {
    let good = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let verdict = whole(&[&good[..], b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    assert_eq!(verdict, Verdict { seen: good.to_vec(), broken_body: true, refused: None, heads: 1 });
}

#[test]
fn an_incomplete_head_is_never_seen() {
    let verdict = whole(b"GET / HTTP/1.1\r\nHost: a\r\n\r");
    assert_eq!(verdict, Verdict { seen: Vec::new(), broken_body: false, refused: None, heads: 0 });
}

/// Bytes that get far into the parser: pieces of requests, good and bad, in any order.
fn request_like_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x%2F HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "content-length: 05\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: \u{e9}\t y\r\n",
        "\r\n",
        "\r",
        "\n",
        "\0",
        " ",
        "5\r\nabcde\r\n",
        "2;x=y\r\n\r\n\r\n",
        "0\r\n\r\n",
        "0\r\nT: u\r\n\r\n",
        "hello",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ])
    .prop_map(|piece| piece.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..8);
    prop::collection::vec(prop_oneof![9 => pieces, 1 => noise], 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_are_cut(
        bytes in prop_oneof![request_like_bytes(), prop::collection::vec(any::<u8>(), 0..600)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        room in 1_usize..100,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(judge(&pieces, room), whole(&bytes));
    }

    #[test]
    fn what_is_handed_on_is_what_came(bytes in request_like_bytes()) {
        let verdict = whole(&bytes);
        let kept = match verdict.refused {
            Some(_) => verdict.seen.strip_suffix(MADE_UP_REQUEST).unwrap(),
            None => &verdict.seen[..],
        };
        prop_assert!(bytes.starts_with(kept));
    }
}

/// A connection whose client end stays open, with a paused clock that runs as soon as everybody waits.
fn connected(limits: Limits) -> (StrictIo<DuplexStream>, DuplexStream, Arc<Exchange>) {
    let (server, client) = duplex(1024);
    let exchange = Arc::new(Exchange::default());
    (StrictIo::new(server, limits, exchange.clone()), client, exchange)
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_its_time_while_it_makes_progress() {
    use tokio::io::AsyncWriteExt;
    let limits = Limits { body_progress_bytes: 10, ..Limits::default() };
    let (mut io, mut client, _) = connected(limits);
    let begun = Instant::now();
    tokio::spawn(async move {
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
        // Ten bytes every 14 seconds for a while, then one byte every 4 seconds.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(14)).await;
            client.write_all(b"0123456789").await.unwrap();
        }
        loop {
            tokio::time::sleep(Duration::from_secs(4)).await;
            if client.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    let error = io.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // Three bytes came in 12 of the 15 seconds, and no seven others in the rest.
    assert_eq!(begun.elapsed().as_secs(), 20 * 14 + 15);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_stops_every_clock_but_its_own() {
    use tokio::io::AsyncWriteExt;
    let (mut io, mut client, exchange) = connected(Limits::default());
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half").await.unwrap();
    let mut head = [0; 28];
    io.read_exact(&mut head[..27]).await.unwrap();
    let (guard, _) = exchange.serve();
    let mut more = [0; 1];
    let waited = tokio::time::timeout(Duration::from_secs(3600), io.read(&mut more)).await;
    assert!(waited.is_err(), "the half head of the next request is not due yet");
    let begun = Instant::now();
    drop(guard);
    let mut refused = vec![0; MADE_UP_REQUEST.len()];
    io.read_exact(&mut refused).await.unwrap();
    assert_eq!(begun.elapsed(), Limits::default().header_timeout);
    assert_eq!(exchange.refused_for_test(), Some(Refusal::HeadTooSlow));
}
