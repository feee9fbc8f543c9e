use docstore_models::{
    CreateInviteRequest, CreateInviteResponse, OrgInvite, OrgInviteList, OrgMember, OrgMemberList, OrgRole,
    SetMemberRequest,
};
use uuid::Uuid;

use crate::{Client, Error, paths::segment, transport::Call};

impl Client {
    /// The members of an org, by identity.
    ///
    /// # Errors
    /// 404 when there is no such org; otherwise as every call.
    pub async fn org_members(&self, org: &str) -> Result<Vec<OrgMember>, Error> {
        let call = Call::get(format!("/orgs/{}/members", segment(org)));
        self.pages(call, None, None, |list: OrgMemberList| list.members, |member| member.identity.to_string()).await
    }

    /// Makes somebody a member or owner, or changes which.
    ///
    /// # Errors
    /// 409 when it would leave the org without an owner; otherwise as every call.
    pub async fn set_org_member(&self, org: &str, identity: &str, role: OrgRole) -> Result<OrgMember, Error> {
        let request = SetMemberRequest { role: role.as_str().to_owned() };
        self.fetch(Call::post(member_path(org, identity)).json(&request)?).await
    }

    /// Removes somebody from an org.
    ///
    /// # Errors
    /// 404 when they are not in it, 409 for the last owner; otherwise as every call.
    pub async fn delete_org_member(&self, org: &str, identity: &str) -> Result<(), Error> {
        self.run(Call::delete(member_path(org, identity))).await
    }

    /// Invites somebody. The answer is the only place where the token is.
    ///
    /// # Errors
    /// As every call.
    pub async fn create_invite(&self, org: &str, email: &str, role: OrgRole) -> Result<CreateInviteResponse, Error> {
        let request = CreateInviteRequest { email: email.to_owned(), role: role.as_str().to_owned() };
        self.fetch(Call::post(format!("/orgs/{}/invites", segment(org))).json(&request)?).await
    }

    /// The invitations that can still be accepted, oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn invites(&self, org: &str) -> Result<Vec<OrgInvite>, Error> {
        let call = Call::get(format!("/orgs/{}/invites", segment(org)));
        self.pages(call, None, None, |list: OrgInviteList| list.invites, |invite| invite.id).await
    }

    /// Accepts an invitation.
    ///
    /// # Errors
    /// 404 `INVITE_NOT_FOUND`, 409 when it was accepted, 410 when it has run out, 403 when it is for somebody else;
    /// otherwise as every call.
    pub async fn accept_invite(&self, org: &str, token: &str) -> Result<(), Error> {
        let path = format!("/orgs/{}/invites/{}/accept", segment(org), segment(token));
        self.run(Call::post(path).json(&serde_json::json!({}))?).await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// 404 `INVITE_NOT_FOUND`; otherwise as every call.
    pub async fn delete_invite(&self, org: &str, id: Uuid) -> Result<(), Error> {
        self.run(Call::delete(format!("/orgs/{}/invites/{id}", segment(org)))).await
    }
}

fn member_path(org: &str, identity: &str) -> String {
    format!("/orgs/{}/members/{}", segment(org), segment(identity))
}
