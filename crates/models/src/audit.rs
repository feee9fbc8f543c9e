use serde::{Deserialize, Serialize};

use crate::CloudEvent;

/// One audit event with its place in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// The place; what `after` takes.
    pub position: i64,
    /// What happened, as the stream showed it.
    pub event: CloudEvent,
}

/// `GET /audit` and `GET audit` of a repo: newest first. Additive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// The events.
    pub events: Vec<AuditEntry>,
}
