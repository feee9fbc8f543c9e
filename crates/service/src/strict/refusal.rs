//! Why a head is refused.

use docstore_models::ErrorCode;
use http::StatusCode;

/// What is wrong with a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    BareLineFeed,
    BareCarriageReturn,
    Nul,
    LeadingLines,
    RequestLine,
    Version,
    Method,
    Target,
    AuthorityMismatch,
    Header,
    FoldedHeader,
    HostMissing,
    HostRepeated,
    HostInvalid,
    LengthRepeated,
    LengthInvalid,
    LengthBesideEncoding,
    EncodingUnsupported,
    EncodingInHttp10,
    UriTooLong,
    HeadTooLong,
    TooManyHeaders,
    HeadTooSlow,
}

impl Refusal {
    /// The word for logs and metrics, and the sentence for the client.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::BareLineFeed => ("bare_line_feed", "a line of the request ends without carriage return"),
            Self::BareCarriageReturn => ("bare_carriage_return", "a carriage return stands without line feed"),
            Self::Nul => ("nul", "the request's head holds a NUL byte"),
            Self::LeadingLines => ("leading_lines", "the request begins with empty lines"),
            Self::RequestLine => ("request_line", "the request line is malformed"),
            Self::Version => ("version", "the protocol version is neither HTTP/1.1 nor HTTP/1.0"),
            Self::Method => ("method", "this method is not served"),
            Self::Target => ("target", "the request target is malformed"),
            Self::AuthorityMismatch => ("authority_mismatch", "the request target and Host name different authorities"),
            Self::Header => ("header", "a header field is malformed"),
            Self::FoldedHeader => ("folded_header", "a header field is folded over several lines"),
            Self::HostMissing => ("host_missing", "the Host header is missing"),
            Self::HostRepeated => ("host_repeated", "there is more than one Host header"),
            Self::HostInvalid => ("host_invalid", "the Host header is malformed"),
            Self::LengthRepeated => ("length_repeated", "there is more than one Content-Length"),
            Self::LengthInvalid => ("length_invalid", "Content-Length is not a number of bytes"),
            Self::LengthBesideEncoding => {
                ("length_beside_encoding", "Content-Length and Transfer-Encoding stand together")
            }
            Self::EncodingUnsupported => ("encoding_unsupported", "Transfer-Encoding is not exactly chunked"),
            Self::EncodingInHttp10 => ("encoding_in_http_1_0", "HTTP/1.0 has no Transfer-Encoding"),
            Self::UriTooLong => ("uri_too_long", "the request target is too long"),
            Self::HeadTooLong => ("head_too_long", "the request's head is too long"),
            Self::TooManyHeaders => ("too_many_headers", "the request has too many header fields"),
            Self::HeadTooSlow => ("head_too_slow", "the request's head did not arrive in time"),
        }
    }

    /// The word for logs and metrics.
    pub(crate) fn reason(self) -> &'static str {
        self.words().0
    }

    /// The sentence for the client.
    pub(crate) fn message(self) -> &'static str {
        self.words().1
    }

    /// The code in the envelope.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::UriTooLong => ErrorCode::UriTooLong,
            Self::HeadTooSlow => ErrorCode::RequestTimeout,
            _ => ErrorCode::BadRequest,
        }
    }

    /// The status. RFC 6585 has 431 for heads that are too long, for which there is no code of its own.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLong | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The setting whose limit was reached, if that is why.
    pub(crate) fn limit(self) -> Option<&'static str> {
        match self {
            Self::UriTooLong => Some("uri_bytes"),
            Self::HeadTooLong => Some("header_bytes"),
            Self::TooManyHeaders => Some("headers"),
            Self::HeadTooSlow => Some("header_timeout"),
            _ => None,
        }
    }
}
