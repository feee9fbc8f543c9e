//! What operations may be refused with, as the OpenAPI document lists it.
//!
//! A test produces every status that an operation documents, and fails when one cannot be produced. So each operation
//! names exactly the groups that apply to it.

use std::collections::BTreeMap;

use docstore_models::ErrorBody;
use utoipa::{
    IntoResponses, PartialSchema,
    openapi::{
        Content, Header, Ref, RefOr,
        response::{Response, ResponseBuilder},
    },
};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $($status:literal)*;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    [$($status),*].into_iter().map(|status: u16| (status.to_string(), refusal(status))).collect()
                }
            }
        )*
    };
}

refusals! {
    /// Of everything that knows its caller and asks the database about parameters.
    Ordinary = 400 401 500 503;
    /// Of what not everybody may do.
    Forbidden = 403;
    /// Of what is about something with a name.
    NotFound = 404;
    /// Of everything in a repo.
    InRepo = 403 404;
    /// Of what has a body.
    OfBody = 408 413;
    /// Of what changes something.
    OfChange = 409;
    /// Of what runs out.
    Gone = 410;
    /// Of what may be conditional.
    OfCondition = 412;
    /// Of what stays open for as long as somebody outside likes, and may be open only so many times.
    TooMany = 429;
    /// Of a stream: what fails inside is unavailability to a client that will come again.
    OfStream = 400 401 503;
    /// Of what only asks who is calling.
    OfCaller = 401 503;
    /// Of what only asks whether something answers.
    Unavailable = 503;
}

/// One refusal with the envelope of all refusals.
fn refusal(status: u16) -> RefOr<Response> {
    let description = match status {
        400 => "The request makes no sense as it is.",
        401 => "No credential, or one that does not verify.",
        403 => "The caller may not do this, or may not know whether it exists; or a browser sent it for another site.",
        404 => "Nothing is there.",
        408 => "The body did not arrive in time.",
        409 => "The state does not allow it, or the idempotency key was used for another request.",
        410 => "It was there and is gone.",
        412 => "The `If-Match` tag is not the current one.",
        413 => "The body, or something in it, is larger than the limit.",
        429 => "Too many of them are open at once.",
        500 => "A defect of the server, or stored bytes that do not match their hash. The log has more.",
        _ => "Something that the server depends on is away; `OUTCOME_UNKNOWN` when a write may have happened.",
    };
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    let response = ResponseBuilder::new().description(description).content("application/json", content);
    let response = if matches!(status, 429 | 503) {
        let header = Header::new(u32::schema());
        response.header("Retry-After", header)
    } else {
        response
    };
    response.into()
}

/// Keeps the reference above honest: the schema that it names.
pub(crate) type Envelope = ErrorBody;
