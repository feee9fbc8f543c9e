use docstore_models::{Role, RoleAssignment, RoleList, SetRoleRequest};

use crate::{Error, RepoClient, paths::segment, transport::Call};

impl RepoClient {
    /// The explicit roles of the repo, by identity.
    ///
    /// # Errors
    /// As every call.
    pub async fn roles(&self) -> Result<Vec<RoleAssignment>, Error> {
        let call = Call::get(self.path("roles"));
        self.client.pages(call, None, None, |list: RoleList| list.roles, |role| role.identity.to_string()).await
    }

    /// Gives somebody a role, in place of the one they have.
    ///
    /// # Errors
    /// As every call.
    pub async fn set_role(&self, identity: &str, role: Role) -> Result<RoleAssignment, Error> {
        let body = SetRoleRequest { role: role.as_str().to_owned() };
        self.client.fetch(Call::put(self.path(&format!("roles/{}", segment(identity)))).json(&body)?).await
    }

    /// Takes somebody's explicit role away.
    ///
    /// # Errors
    /// 404 when they have none; otherwise as every call.
    pub async fn delete_role(&self, identity: &str) -> Result<(), Error> {
        self.client.run(Call::delete(self.path(&format!("roles/{}", segment(identity))))).await
    }
}
