//! The members of orgs, and invitations to become one.

use chrono::{DateTime, TimeDelta, Utc};
use docstore_auth::Caller;
use docstore_database::{
    org_invites::{self, NewInvite},
    org_members, orgs,
};
use docstore_models::{
    CreateInviteRequest, CreateInviteResponse, ErrorCode, EventData, Identity, OrgInvite, OrgMember, OrgRole,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Operations, OrgOwner, OrgReader, Result,
    orgs::org_not_found,
    write::{Begun, Write, begin},
};

/// How long an invitation can be accepted (contract, server §4.4).
const INVITE_DAYS: i64 = 7;

/// The bytes of an invitation's token, as many as those of a key that cannot be guessed.
const INVITE_TOKEN_BYTES: usize = 32;

/// What is kept of the answer to an invitation: the token is nowhere but with whom it was told.
#[derive(Serialize, Deserialize)]
struct Invited {
    id: Uuid,
}

fn invite_not_found() -> Error {
    Error::refused(ErrorCode::InviteNotFound, "invite not found")
}

impl Operations {
    /// The members by identity: all, or one page.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_members(&self, org: &OrgReader, after: &str, limit: Option<i64>) -> Result<Vec<OrgMember>> {
        let limit = self.limits().optional_page(limit);
        Ok(org_members::list_members(self.pool(), org.org_id, &org.name, after, limit).await?)
    }

    /// Makes an identity a member or owner, or changes which.
    ///
    /// # Errors
    /// A role or identity that cannot be used; `CONFLICT` when it would leave the org without an owner.
    pub async fn set_member(
        &self,
        owner: &OrgOwner,
        key: Option<&IdempotencyKey>,
        identity: &str,
        role: &str,
    ) -> Result<OrgMember> {
        let role: OrgRole = role.parse().map_err(Error::bad_request)?;
        let identity = Identity::parse(identity)?;
        let mut write = begin!(self, &owner.caller, key);
        lock_members(&mut write, owner.org_id).await?;
        let before = org_members::member_role(&mut *write.transaction, owner.org_id, identity.as_str()).await?;
        if before == Some(OrgRole::Owner) && role < OrgRole::Owner {
            self.keep_an_owner(&mut write, owner, identity.as_str()).await?;
        }
        let invited_by = owner.caller.identity().as_str();
        let member =
            org_members::set_member(&mut *write.transaction, owner.org_id, &owner.name, &identity, role, invited_by)
                .await?;
        if before != Some(role) {
            let event =
                EventData::OrgMemberAdded { org: owner.name.clone(), identity, role, added_by: invited_by.to_owned() };
            write.note(None, &event)?;
        }
        self.finish(write, member).await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when it would leave the org without an owner.
    pub async fn delete_member(&self, owner: &OrgOwner, key: Option<&IdempotencyKey>, identity: &str) -> Result<()> {
        let mut write = begin!(self, &owner.caller, key);
        lock_members(&mut write, owner.org_id).await?;
        let before = org_members::member_role(&mut *write.transaction, owner.org_id, identity).await?;
        if before == Some(OrgRole::Owner) {
            self.keep_an_owner(&mut write, owner, identity).await?;
        }
        if !org_members::delete_member(&mut *write.transaction, owner.org_id, identity).await? {
            return Err(Error::refused(ErrorCode::NotFound, "member not found"));
        }
        let event = EventData::OrgMemberRemoved {
            org: owner.name.clone(),
            identity: identity.to_owned(),
            removed_by: owner.caller.identity().as_str().to_owned(),
        };
        write.note(None, &event)?;
        self.finish(write, ()).await
    }

    /// Invites somebody. The answer is the only time that the token is shown: the server keeps its hash. So the same request
    /// sent again with its idempotency key is answered with another token for the same invitation, in place of the one that
    /// was lost.
    ///
    /// # Errors
    /// An address or role that cannot be used; `GONE` when the invitation of a repeated request is there no more.
    pub async fn create_invite(
        &self,
        owner: &OrgOwner,
        key: Option<&IdempotencyKey>,
        request: &CreateInviteRequest,
    ) -> Result<CreateInviteResponse> {
        if request.email.is_empty() {
            return Err(Error::bad_request("email is required"));
        }
        let role: OrgRole = request.role.parse().map_err(Error::bad_request)?;
        // Whoever accepts it has an identity that is equal but for the case.
        let email = Identity::parse(request.email.as_str())?;
        let token = self.invite_token();
        let token_hash = hash_of(&token);
        let mut write = match self.begin::<Invited>(&owner.caller, key).await? {
            Begun::Before(Invited { id }) => {
                if !org_invites::replace_token(self.pool(), owner.org_id, id, &token_hash).await? {
                    return Err(Error::refused(ErrorCode::Gone, "the invite was accepted or revoked"));
                }
                return Ok(CreateInviteResponse { id, token });
            }
            Begun::Now(write) => write,
        };
        if !orgs::lock_org(&mut *write.transaction, owner.org_id).await? {
            return Err(org_not_found());
        }
        let invited_by = owner.caller.identity().as_str();
        let invite = NewInvite {
            email: email.as_str(),
            role,
            invited_by,
            token_hash: &token_hash,
            expires_at: self.now() + TimeDelta::days(INVITE_DAYS),
        };
        let id = org_invites::create_invite(&mut *write.transaction, owner.org_id, invite).await?;
        let event = EventData::OrgInviteCreated {
            org: owner.name.clone(),
            invite_id: id,
            email: email.as_str().to_owned(),
            role,
            invited_by: invited_by.to_owned(),
        };
        write.note(None, &event)?;
        let Invited { id } = self.finish(write, Invited { id }).await?;
        Ok(CreateInviteResponse { id, token })
    }

    /// The invitations that can still be accepted, oldest first: all, or one page.
    ///
    /// # Errors
    /// A cursor that is no invitation of this org.
    pub async fn list_invites(
        &self,
        owner: &OrgOwner,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<OrgInvite>> {
        let limit = self.limits().optional_page(limit);
        let mut connection = self.pool().acquire().await?;
        let page =
            org_invites::list_invites(&mut connection, owner.org_id, &owner.name, self.now(), after, limit).await?;
        connection.done();
        page.ok_or_else(Error::invalid_cursor)
    }

    /// Accepts an invitation: the caller gets its role in the org, unless they have a higher one.
    ///
    /// # Errors
    /// `INVITE_NOT_FOUND`; `CONFLICT` when it was accepted before; `GONE` when it has run out; `FORBIDDEN` when it is for
    /// somebody else. In this order, as in the contract: whoever has the token knows of the invitation.
    pub async fn accept_invite(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        org: &str,
        token: &str,
    ) -> Result<()> {
        let now: DateTime<Utc> = self.now();
        let mut write = begin!(self, caller, key);
        let token_hash = hash_of(token);
        let org_id = org_invites::org_of_invite(&mut *write.transaction, org, &token_hash)
            .await?
            .ok_or_else(invite_not_found)?;
        // The org before the invitation, like whoever deletes the org with its invitations.
        lock_members(&mut write, org_id).await?;
        let invite = org_invites::lock_invite(&mut *write.transaction, org_id, org, &token_hash)
            .await?
            .ok_or_else(invite_not_found)?;
        if invite.accepted_at.is_some() {
            return Err(Error::refused(ErrorCode::Conflict, "invite already accepted"));
        }
        if invite.expires_at.to_utc() <= now {
            return Err(Error::refused(ErrorCode::Gone, "invite expired"));
        }
        let identity = caller.identity();
        if invite.email.to_lowercase() != identity.as_str().to_lowercase() {
            tracing::info!(identity = identity.as_str(), org, invite = %invite.id, "access denied");
            return Err(Error::refused(ErrorCode::Forbidden, "identity does not match invite email"));
        }
        org_invites::accept_invite(&mut *write.transaction, invite.id, now).await?;
        let before = org_members::member_role(&mut *write.transaction, org_id, identity.as_str()).await?;
        if before < Some(invite.role) {
            let (role, invited_by) = (invite.role, invite.invited_by.as_str());
            org_members::set_member(&mut *write.transaction, org_id, org, identity, role, invited_by).await?;
            let event = EventData::OrgMemberAdded {
                org: org.to_owned(),
                identity: identity.clone(),
                role,
                added_by: invite.invited_by.clone(),
            };
            write.note(None, &event)?;
        }
        let event = EventData::OrgInviteAccepted {
            org: org.to_owned(),
            invite_id: invite.id,
            identity: identity.as_str().to_owned(),
        };
        write.note(None, &event)?;
        self.finish(write, ()).await
    }

    /// Takes an invitation back. One that was accepted goes from the table as well; the membership stays.
    ///
    /// # Errors
    /// `INVITE_NOT_FOUND`.
    pub async fn delete_invite(&self, owner: &OrgOwner, key: Option<&IdempotencyKey>, id: &str) -> Result<()> {
        let id = Uuid::try_parse(id).map_err(|_| invite_not_found())?;
        let mut write = begin!(self, &owner.caller, key);
        if !org_invites::delete_invite(&mut *write.transaction, owner.org_id, id).await? {
            return Err(invite_not_found());
        }
        let event = EventData::OrgInviteRevoked {
            org: owner.name.clone(),
            invite_id: id,
            revoked_by: owner.caller.identity().as_str().to_owned(),
        };
        write.note(None, &event)?;
        self.finish(write, ()).await
    }

    /// Refuses to take the last owner's role, unless the global admin asks, who can give it back.
    async fn keep_an_owner(&self, write: &mut Write, owner: &OrgOwner, identity: &str) -> Result<()> {
        if self.is_global_admin(owner.caller.rights_of())
            || org_members::has_other_owner(&mut *write.transaction, owner.org_id, identity).await?
        {
            return Ok(());
        }
        Err(Error::refused(
            ErrorCode::Conflict,
            format!("'{identity}' is the last owner of the org; make somebody else owner first"),
        ))
    }

    fn invite_token(&self) -> String {
        let mut bytes = [0; INVITE_TOKEN_BYTES];
        (self.inner.random)(&mut bytes);
        hex::encode(bytes)
    }
}

/// The hash under which a token is kept. Plain, since nobody can try out so many tokens as there are.
fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Lets members change one after the other: two owners must not remove each other.
async fn lock_members(write: &mut Write, org_id: i64) -> Result<()> {
    if orgs::lock_org(&mut *write.transaction, org_id).await? { Ok(()) } else { Err(org_not_found()) }
}
