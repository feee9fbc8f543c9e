//! The types of events, which of them are the audit trail, and what they are about.

use crate::EventData;

/// The prefix of every event type.
pub const EVENT_TYPE_PREFIX: &str = "com.docstore.";

/// Whether events of a type are kept for whoever looks into something later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Part of the audit trail: who came in, who may do what, who is told, what was seen that is secret, and what overrode a
    /// rule or took history away. Such events are kept longer than the rest, and have pages of their own.
    Audit,
    /// Part of the log only.
    Ordinary,
}

/// Each kind of event with its type and its trail: one that is in neither does not compile.
macro_rules! event_types {
    ($($variant:ident => $name:literal, $trail:ident;)*) => {
        /// Every type of event.
        pub const EVENT_TYPES: &[(&str, Trail)] = &[$((concat!("com.docstore.", $name), Trail::$trail)),*];

        impl EventData {
            /// The full type, such as `com.docstore.commit.created`.
            #[must_use]
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => concat!("com.docstore.", $name),)*
                }
            }
        }
    };
}

event_types! {
    OrgCreated => "org.created", Audit;
    OrgDeleted => "org.deleted", Audit;
    OrgMemberAdded => "org.member.added", Audit;
    RepoCreated => "repo.created", Audit;
    RepoDeleted => "repo.deleted", Audit;
    CommitCreated => "commit.created", Ordinary;
    BranchCreated => "branch.created", Ordinary;
    BranchMerged => "branch.merged", Ordinary;
    BranchRebased => "branch.rebased", Ordinary;
    BranchAbandoned => "branch.abandoned", Ordinary;
    BranchDraftUpdated => "branch.draft.updated", Ordinary;
    BranchAutomergeEnabled => "branch.automerge.enabled", Ordinary;
    BranchAutomergeDisabled => "branch.automerge.disabled", Ordinary;
    BranchAutomergeFailed => "branch.automerge.failed", Ordinary;
    MergeBlocked => "merge.blocked", Ordinary;
    PolicyOverridden => "policy.overridden", Audit;
    OrgPolicyChanged => "org.policy.changed", Audit;
    ReleaseCreated => "release.created", Ordinary;
    ReleaseDeleted => "release.deleted", Ordinary;
    OrgMemberRemoved => "org.member.removed", Audit;
    OrgInviteCreated => "org.invite.created", Audit;
    OrgInviteAccepted => "org.invite.accepted", Audit;
    OrgInviteRevoked => "org.invite.revoked", Audit;
    ProposalOpened => "proposal.opened", Ordinary;
    ProposalUpdated => "proposal.updated", Ordinary;
    ProposalClosed => "proposal.closed", Ordinary;
    ProposalReopened => "proposal.reopened", Ordinary;
    ProposalMerged => "proposal.merged", Ordinary;
    IssueOpened => "issue.opened", Ordinary;
    IssueUpdated => "issue.updated", Ordinary;
    IssueClosed => "issue.closed", Ordinary;
    IssueReopened => "issue.reopened", Ordinary;
    IssueCommentCreated => "issue.comment.created", Ordinary;
    IssueCommentUpdated => "issue.comment.updated", Ordinary;
    IssueCommentDeleted => "issue.comment.deleted", Ordinary;
    IssueRefAdded => "issue.ref.added", Ordinary;
    RoleChanged => "role.changed", Audit;
    ReviewSubmitted => "review.submitted", Ordinary;
    ReviewCommentCreated => "review.comment.created", Ordinary;
    ReviewCommentResolved => "review.comment.resolved", Ordinary;
    ReviewCommentReopened => "review.comment.reopened", Ordinary;
    ReviewCommentDeleted => "review.comment.deleted", Ordinary;
    CheckReported => "check.reported", Ordinary;
    CheckOverridden => "check.overridden", Audit;
    CheckRunRetry => "checkrun.retry", Ordinary;
    RequiredCheckAdded => "required_check.added", Audit;
    RequiredCheckRemoved => "required_check.removed", Audit;
    ContentObliterated => "content.obliterated", Audit;
    RepoPurged => "repo.purged", Audit;
    LoginSucceeded => "login.succeeded", Audit;
    SessionEnded => "session.ended", Audit;
    TokenCreated => "token.created", Audit;
    TokenRevoked => "token.revoked", Audit;
    AgentCreated => "agent.created", Audit;
    AgentRevoked => "agent.revoked", Audit;
    CommitsImported => "commits.imported", Audit;
    SecretCreated => "secret.created", Audit;
    SecretUpdated => "secret.updated", Audit;
    SecretDeleted => "secret.deleted", Audit;
    SecretAccessed => "secret.accessed", Audit;
    SecretDenied => "secret.denied", Audit;
    SubscriptionCreated => "subscription.created", Audit;
    SubscriptionUpdated => "subscription.updated", Audit;
    SubscriptionSuspended => "subscription.suspended", Audit;
    SubscriptionResumed => "subscription.resumed", Audit;
    SubscriptionDeleted => "subscription.deleted", Audit;
    SubscriptionPinged => "subscription.pinged", Ordinary;
}

/// Whether events of a type belong to the audit trail.
#[must_use]
pub fn is_audit_type(event_type: &str) -> bool {
    EVENT_TYPES.iter().any(|(name, trail)| *name == event_type && *trail == Trail::Audit)
}

impl EventData {
    /// What it happened to, as the text that the log is filtered by: a repo's full name, `/orgs/<org>`, or
    /// `/identities/<identity>` of who came in or owns the token, or `/subscriptions` for those that are about no repo.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::OrgCreated { org, .. }
            | Self::OrgDeleted { org, .. }
            | Self::OrgMemberAdded { org, .. }
            | Self::OrgMemberRemoved { org, .. }
            | Self::OrgInviteCreated { org, .. }
            | Self::OrgInviteAccepted { org, .. }
            | Self::OrgPolicyChanged { org, .. }
            | Self::OrgInviteRevoked { org, .. } => format!("/orgs/{org}"),
            Self::RepoCreated { repo, .. }
            | Self::RepoDeleted { repo, .. }
            | Self::CommitCreated { repo, .. }
            | Self::BranchCreated { repo, .. }
            | Self::BranchMerged { repo, .. }
            | Self::BranchRebased { repo, .. }
            | Self::BranchAbandoned { repo, .. }
            | Self::BranchDraftUpdated { repo, .. }
            | Self::BranchAutomergeEnabled { repo, .. }
            | Self::BranchAutomergeDisabled { repo, .. }
            | Self::BranchAutomergeFailed { repo, .. }
            | Self::MergeBlocked { repo, .. }
            | Self::PolicyOverridden { repo, .. }
            | Self::ReleaseCreated { repo, .. }
            | Self::ReleaseDeleted { repo, .. }
            | Self::ProposalOpened { repo, .. }
            | Self::ProposalUpdated { repo, .. }
            | Self::ProposalClosed { repo, .. }
            | Self::ProposalReopened { repo, .. }
            | Self::ProposalMerged { repo, .. }
            | Self::IssueOpened { repo, .. }
            | Self::IssueUpdated { repo, .. }
            | Self::IssueClosed { repo, .. }
            | Self::IssueReopened { repo, .. }
            | Self::IssueCommentCreated { repo, .. }
            | Self::IssueCommentUpdated { repo, .. }
            | Self::IssueCommentDeleted { repo, .. }
            | Self::IssueRefAdded { repo, .. }
            | Self::RoleChanged { repo, .. }
            | Self::ReviewSubmitted { repo, .. }
            | Self::ReviewCommentCreated { repo, .. }
            | Self::ReviewCommentResolved { repo, .. }
            | Self::ReviewCommentReopened { repo, .. }
            | Self::ReviewCommentDeleted { repo, .. }
            | Self::CheckReported { repo, .. }
            | Self::CheckOverridden { repo, .. }
            | Self::CheckRunRetry { repo, .. }
            | Self::RequiredCheckAdded { repo, .. }
            | Self::RequiredCheckRemoved { repo, .. }
            | Self::RepoPurged { repo, .. }
            | Self::ContentObliterated { repo, .. }
            | Self::CommitsImported { repo, .. }
            | Self::SecretCreated { repo, .. }
            | Self::SecretUpdated { repo, .. }
            | Self::SecretDeleted { repo, .. }
            | Self::SecretAccessed { repo, .. }
            | Self::SecretDenied { repo, .. } => repo.clone(),
            Self::LoginSucceeded { identity: owner, .. }
            | Self::SessionEnded { identity: owner, .. }
            | Self::TokenCreated { created_by: owner, .. }
            | Self::TokenRevoked { owner, .. }
            | Self::AgentCreated { created_by: owner, .. }
            | Self::AgentRevoked { owner, .. } => format!("/identities/{owner}"),
            Self::SubscriptionCreated { repo, .. }
            | Self::SubscriptionUpdated { repo, .. }
            | Self::SubscriptionSuspended { repo, .. }
            | Self::SubscriptionResumed { repo, .. }
            | Self::SubscriptionDeleted { repo, .. }
            | Self::SubscriptionPinged { repo, .. } => repo.clone().unwrap_or_else(|| "/subscriptions".to_owned()),
        }
    }

    /// The CloudEvents source: `/repos/<repo>`, `/orgs/<org>`, `/identities/<identity>` or `/subscriptions`;
    /// of a secret `/repos/<repo>/-/secrets/<name>`.
    #[must_use]
    pub fn source(&self) -> String {
        let subject = self.subject();
        if let Self::SecretCreated { name, .. }
        | Self::SecretUpdated { name, .. }
        | Self::SecretDeleted { name, .. }
        | Self::SecretAccessed { name, .. } = self
        {
            return format!("/repos/{subject}/-/secrets/{name}");
        }
        // No name of a repo begins with a slash.
        if subject.starts_with('/') { subject } else { format!("/repos/{subject}") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{EVENT_TYPE_PREFIX, EVENT_TYPES, Trail, is_audit_type};

    #[test]
    fn every_login_token_role_change_override_and_reveal_is_in_the_audit_trail() {
        let trail: Vec<&str> = EVENT_TYPES
            .iter()
            .filter(|(_, trail)| *trail == Trail::Audit)
            .filter_map(|(name, _)| name.strip_prefix(EVENT_TYPE_PREFIX))
            .collect();
        let expected = [
            "org.created",
            "org.deleted",
            "org.member.added",
            "repo.created",
            "repo.deleted",
            "policy.overridden",
            "org.policy.changed",
            "org.member.removed",
            "org.invite.created",
            "org.invite.accepted",
            "org.invite.revoked",
            "role.changed",
            "check.overridden",
            "required_check.added",
            "required_check.removed",
            "content.obliterated",
            "repo.purged",
            "login.succeeded",
            "session.ended",
            "token.created",
            "token.revoked",
            "agent.created",
            "agent.revoked",
            "commits.imported",
            "secret.created",
            "secret.updated",
            "secret.deleted",
            "secret.accessed",
            "secret.denied",
            "subscription.created",
            "subscription.updated",
            "subscription.suspended",
            "subscription.resumed",
            "subscription.deleted",
        ];
        assert_eq!(trail, expected);
        assert!(is_audit_type("com.docstore.secret.accessed") && !is_audit_type("com.docstore.commit.created"));
    }

    #[test]
    fn no_two_kinds_of_event_have_one_type() {
        let names: BTreeSet<&str> = EVENT_TYPES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), EVENT_TYPES.len());
    }
}
