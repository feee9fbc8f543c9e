use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    CheckState, CheckStatus, CloseReason, Identity, MergeStatus, OrgRole, RefType, Requirement, ReviewStatus,
    Timestamp, TokenScope,
};

/// What happened: the `data` of an event and, with it, the event's type (contract, server §8.2).
///
/// Serialises as the `data` object alone; the type goes into the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the fields are those of the contract's table, named alike")]
pub enum EventData {
    OrgCreated {
        org: String,
        created_by: String,
    },
    OrgDeleted {
        org: String,
        deleted_by: String,
    },
    OrgMemberAdded {
        org: String,
        identity: Identity,
        role: OrgRole,
        added_by: String,
    },
    OrgMemberRemoved {
        org: String,
        identity: String,
        removed_by: String,
    },
    /// Additive, as the other two about invitations. None of them carries the token.
    OrgInviteCreated {
        org: String,
        invite_id: Uuid,
        email: String,
        role: OrgRole,
        invited_by: String,
    },
    OrgInviteAccepted {
        org: String,
        invite_id: Uuid,
        identity: String,
    },
    OrgInviteRevoked {
        org: String,
        invite_id: Uuid,
        revoked_by: String,
    },
    RepoCreated {
        repo: String,
        owner: String,
        created_by: String,
    },
    RepoDeleted {
        repo: String,
        deleted_by: String,
    },
    CommitCreated {
        repo: String,
        branch: String,
        sequence: i64,
        author: String,
        message: String,
        file_count: i64,
    },
    BranchCreated {
        repo: String,
        branch: String,
        base_sequence: i64,
        created_by: String,
    },
    BranchMerged {
        repo: String,
        branch: String,
        sequence: i64,
        merged_by: String,
        /// What the policies said.
        #[serde(skip_serializing_if = "Option::is_none")]
        branch_status: Option<MergeStatus>,
        /// On whose behalf it merged by itself. Additive.
        #[serde(skip_serializing_if = "Option::is_none")]
        on_behalf_of: Option<String>,
    },
    /// `policies` are names. `action` and `requirements` are additive.
    MergeBlocked {
        repo: String,
        branch: String,
        actor: String,
        policies: Vec<String>,
        action: String,
        requirements: Vec<Requirement>,
    },
    /// Additive: an admin went ahead against these policies.
    PolicyOverridden {
        repo: String,
        branch: String,
        action: String,
        actor: String,
        reason: String,
        policies: Vec<String>,
        sequence: i64,
    },
    /// Additive: a policy of the org was set or deleted.
    OrgPolicyChanged {
        org: String,
        name: String,
        deleted: bool,
        changed_by: String,
    },
    BranchRebased {
        repo: String,
        branch: String,
        new_base_sequence: i64,
        new_head_sequence: i64,
        commits_replayed: i64,
        rebased_by: String,
    },
    BranchAbandoned {
        repo: String,
        branch: String,
        abandoned_by: String,
    },
    BranchDraftUpdated {
        repo: String,
        branch: String,
        draft: bool,
        updated_by: String,
    },
    BranchAutomergeEnabled {
        repo: String,
        branch: String,
        enabled_by: String,
    },
    BranchAutomergeDisabled {
        repo: String,
        branch: String,
        disabled_by: String,
    },
    BranchAutomergeFailed {
        repo: String,
        branch: String,
        reason: String,
    },
    ReleaseCreated {
        repo: String,
        name: String,
        sequence: i64,
        created_by: String,
    },
    ReleaseDeleted {
        repo: String,
        name: String,
        deleted_by: String,
    },
    /// `sequence` is the head of the branch.
    ProposalOpened {
        repo: String,
        branch: String,
        base_branch: String,
        proposal_id: Uuid,
        author: String,
        sequence: i64,
    },
    /// Additive.
    ProposalUpdated {
        repo: String,
        branch: String,
        proposal_id: Uuid,
        updated_by: String,
    },
    /// `closed_by` is additive.
    ProposalClosed {
        repo: String,
        branch: String,
        proposal_id: Uuid,
        closed_by: String,
    },
    /// Additive.
    ProposalReopened {
        repo: String,
        branch: String,
        base_branch: String,
        proposal_id: Uuid,
        sequence: i64,
        reopened_by: String,
    },
    ProposalMerged {
        repo: String,
        branch: String,
        base_branch: String,
        proposal_id: Uuid,
    },
    IssueOpened {
        repo: String,
        issue_id: Uuid,
        number: i64,
        author: String,
    },
    /// `updated_by` is additive.
    IssueUpdated {
        repo: String,
        issue_id: Uuid,
        number: i64,
        updated_by: String,
    },
    IssueClosed {
        repo: String,
        issue_id: Uuid,
        number: i64,
        reason: CloseReason,
        closed_by: String,
    },
    /// `reopened_by` is additive.
    IssueReopened {
        repo: String,
        issue_id: Uuid,
        number: i64,
        reopened_by: String,
    },
    IssueCommentCreated {
        repo: String,
        issue_id: Uuid,
        number: i64,
        comment_id: Uuid,
        author: String,
    },
    /// `updated_by` is additive.
    IssueCommentUpdated {
        repo: String,
        issue_id: Uuid,
        number: i64,
        comment_id: Uuid,
        updated_by: String,
    },
    /// Additive.
    IssueCommentDeleted {
        repo: String,
        issue_id: Uuid,
        number: i64,
        comment_id: Uuid,
        deleted_by: String,
    },
    /// Additive: somebody tied the issue to a proposal or commit. What a text mentions is tied silently.
    IssueRefAdded {
        repo: String,
        issue_id: Uuid,
        number: i64,
        ref_type: RefType,
        ref_id: String,
    },
    /// `role` is `""` when the role was taken away.
    RoleChanged {
        repo: String,
        identity: String,
        role: String,
        changed_by: String,
    },
    /// `review_id` and `comment_count` are additive.
    ReviewSubmitted {
        repo: String,
        branch: String,
        sequence: i64,
        reviewer: String,
        status: ReviewStatus,
        review_id: Uuid,
        comment_count: i64,
    },
    /// Additive, like what else happens to comments on a review.
    ReviewCommentCreated {
        repo: String,
        branch: String,
        sequence: i64,
        comment_id: Uuid,
        path: String,
        author: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        review_id: Option<Uuid>,
        #[serde(skip_serializing_if = "Option::is_none")]
        in_reply_to: Option<Uuid>,
    },
    /// The thread that a comment began.
    ReviewCommentResolved {
        repo: String,
        branch: String,
        comment_id: Uuid,
        path: String,
        resolved_by: String,
    },
    ReviewCommentReopened {
        repo: String,
        branch: String,
        comment_id: Uuid,
        path: String,
        reopened_by: String,
    },
    ReviewCommentDeleted {
        repo: String,
        branch: String,
        comment_id: Uuid,
        path: String,
        deleted_by: String,
    },
    /// `attempt` and `state`, which is there when it says more than `status`, are additive.
    CheckReported {
        repo: String,
        branch: String,
        sequence: i64,
        check_name: String,
        status: CheckStatus,
        reporter: String,
        attempt: i16,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<CheckState>,
    },
    /// Additive: an admin said something else than CI about a check.
    CheckOverridden {
        repo: String,
        branch: String,
        sequence: i64,
        check_name: String,
        attempt: i16,
        status: CheckStatus,
        actor: String,
    },
    /// `checks` is as requested; `retried` and `retried_by` are additive.
    CheckRunRetry {
        repo: String,
        branch: String,
        sequence: i64,
        checks: Option<Vec<String>>,
        attempt: i16,
        retried: Vec<String>,
        retried_by: String,
    },
    /// Additive.
    RequiredCheckAdded {
        repo: String,
        branch_pattern: String,
        check_name: String,
        added_by: String,
    },
    /// Additive.
    RequiredCheckRemoved {
        repo: String,
        branch_pattern: String,
        check_name: String,
        removed_by: String,
    },
    /// Additive: the contract's server purges silently.
    RepoPurged {
        repo: String,
        branches_purged: i64,
        purged_by: String,
    },
    /// Additive.
    ContentObliterated {
        repo: String,
        obliteration_id: Uuid,
        content_hash: String,
        size: i64,
        changes: i64,
        reason: String,
        obliterated_by: String,
    },
    /// Additive, as is everything below that names a login, a token or an agent.
    LoginSucceeded {
        identity: Identity,
        via: &'static str,
    },
    SessionEnded {
        identity: Identity,
        /// A digest of the one that ended; absent: all that had begun.
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        ended_by: Identity,
    },
    TokenCreated {
        token_id: Uuid,
        name: String,
        #[serde(flatten)]
        scope: TokenScope,
        expires_at: Timestamp,
        created_by: Identity,
    },
    TokenRevoked {
        token_id: Uuid,
        name: String,
        owner: Identity,
        revoked_by: Identity,
    },
    AgentCreated {
        agent_id: Uuid,
        agent: Identity,
        #[serde(flatten)]
        scope: TokenScope,
        expires_at: Timestamp,
        created_by: Identity,
    },
    AgentRevoked {
        agent_id: Uuid,
        agent: Identity,
        owner: Identity,
        revoked_by: Identity,
    },
    /// Additive: one per batch of imported commits, instead of one `commit.created` each.
    CommitsImported {
        repo: String,
        branch: String,
        first_sequence: i64,
        last_sequence: i64,
        commit_count: i64,
        imported_by: String,
    },
    SecretCreated {
        repo: String,
        name: String,
        id: Uuid,
        size_bytes: i32,
        actor: String,
    },
    SecretUpdated {
        repo: String,
        name: String,
        id: Uuid,
        size_bytes: i32,
        actor: String,
    },
    SecretDeleted {
        repo: String,
        name: String,
        id: Uuid,
        actor: String,
    },
    SecretAccessed {
        repo: String,
        name: String,
        job_id: Uuid,
        sequence: i64,
        branch: String,
    },
    /// Additive: a job asked for these, and was not given them.
    SecretDenied {
        repo: String,
        names: Vec<String>,
        job_id: Uuid,
        sequence: i64,
        branch: String,
        reason: String,
    },
    /// Additive, as the four that follow. `repo` is absent for a subscription to all events.
    SubscriptionCreated {
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        subscription_id: Uuid,
        created_by: String,
    },
    SubscriptionUpdated {
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        subscription_id: Uuid,
        updated_by: String,
    },
    SubscriptionSuspended {
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        subscription_id: Uuid,
        reason: String,
    },
    SubscriptionResumed {
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        subscription_id: Uuid,
        resumed_by: String,
    },
    SubscriptionDeleted {
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        subscription_id: Uuid,
        deleted_by: String,
    },
    /// Additive: what a ping sends. It is never in the log.
    SubscriptionPinged {
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        subscription_id: Uuid,
        pinged_by: String,
    },
}

/// A CloudEvents 1.0 envelope in JSON format, keys in the order of the contract (server §8.1).
///
/// `data` is kept as text, so that what was written is what is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// The full type, such as `com.docstore.commit.created`.
    pub r#type: String,
    /// `/repos/<repo>` or `/orgs/<org>`.
    pub source: String,
    /// The same in the log, on the stream and in the webhook.
    pub id: Uuid,
    /// RFC 3339 in UTC.
    pub time: String,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// What happened.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: Box<serde_json::value::RawValue>,
}

#[cfg(test)]
mod tests {
    use super::EventData;

    #[test]
    fn data_is_the_plain_object_of_the_contract() {
        let event = EventData::BranchDraftUpdated {
            repo: "a/b".into(),
            branch: "x".into(),
            draft: true,
            updated_by: "me@example.com".into(),
        };
        assert_eq!(
            serde_json::to_string(&event).expect("serialises"),
            r#"{"repo":"a/b","branch":"x","draft":true,"updated_by":"me@example.com"}"#
        );
        assert_eq!(event.event_type(), "com.docstore.branch.draft.updated");
        assert_eq!(event.source(), "/repos/a/b");
    }
}
