//! Requests byte for byte, past all that an HTTP client would tidy up or refuse to send.

use docstore_test_support::{Answer, TestApp};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends bytes on a connection of their own and reads answers until the server closes.
pub(crate) async fn exchange(app: &TestApp, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(app.base_url().trim_start_matches("http://")).await.unwrap();
    // The server may close before it has taken everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// Sends one request with this line, these header lines and this body, and reads the answer.
pub(crate) async fn request(app: &TestApp, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n").into_bytes();
    for header in headers {
        request.extend_from_slice(header.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    let declared = headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-length:"));
    if !body.is_empty() && !declared {
        request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    parse(&exchange(app, &request).await)
}

/// Takes an answer apart.
pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).unwrap() else {
        panic!("no answer: {:?}", String::from_utf8_lossy(bytes));
    };
    let headers: HeaderMap = head
        .headers
        .iter()
        .map(|field| (field.name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(field.value).unwrap()))
        .collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
    let body = if chunked { unchunked(&bytes[length..]) } else { bytes[length..].to_vec() };
    Answer {
        status: StatusCode::from_u16(head.code.unwrap()).unwrap(),
        headers,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// RFC 9112 section 7.1.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a chunk has a size");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}
