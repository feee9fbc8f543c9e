//! Only what RFC 9112 allows gets through to hyper.
//!
//! hyper is lenient where proxies in front of it may be lenient in another way: it takes bare line feeds, requests
//! without `Host` or with two, and `Content-Length` beside `Transfer-Encoding`. Two parsers that disagree about where
//! a request ends is how requests are smuggled. So [`StrictIo`] stands between the socket and hyper. It
//!
//! - holds the bytes of a head back until the head is complete and found good ([`head`]), so that hyper never sees
//!   half of a bad one;
//! - follows the body's framing ([`framing`]), so that it knows where the next head begins, also when requests are
//!   pipelined;
//! - on a bad head gives hyper one made-up request in its place and ignores everything after it. The service that
//!   hyper calls recognises the made-up request by its number and answers with the refusal, after the answers to the
//!   requests before it and with `Connection: close` ([`Exchange`]);
//! - has the deadlines, since it alone knows what it is waiting for.
//!
//! What is refused is decided by the bytes in their order, never by how they were cut into packets.

mod exchange;
mod framing;
mod head;
mod host;
mod io;
mod refusal;

pub(crate) use exchange::{Exchange, RequestGuard};
pub(crate) use io::StrictIo;
pub(crate) use refusal::Refusal;
