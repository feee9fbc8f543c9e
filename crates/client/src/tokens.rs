use docstore_models::{
    Agent, AgentList, AuditEntry, AuditPage, CreateAgentRequest, CreateTokenRequest, CreatedAgent, CreatedToken, Right,
    RightList, Token, TokenList,
};
use uuid::Uuid;

use crate::{Client, Error, RepoClient, transport::Call};

impl Client {
    /// The repos in which the caller has a role, by name.
    ///
    /// # Errors
    /// As every call.
    pub async fn rights(&self) -> Result<Vec<Right>, Error> {
        let call = Call::get("/whoami/rights".to_owned());
        self.pages(call, None, None, |list: RightList| list.rights, |right| right.repo.clone()).await
    }

    /// The caller's API tokens, or for the global admin everybody's.
    ///
    /// # Errors
    /// 403 for everybody's; otherwise as every call.
    pub async fn tokens(&self, all: bool) -> Result<Vec<Token>, Error> {
        let call = Call::get("/tokens".to_owned()).query_some("all", all.then_some(true));
        self.pages(call, None, None, |list: TokenList| list.tokens, |token| token.id).await
    }

    /// Makes an API token. Its secret is told once.
    ///
    /// # Errors
    /// As every call.
    pub async fn create_token(&self, request: &CreateTokenRequest) -> Result<CreatedToken, Error> {
        self.fetch(Call::post("/tokens".to_owned()).json(request)?).await
    }

    /// Revokes an API token.
    ///
    /// # Errors
    /// 404 when the caller has none of that id; otherwise as every call.
    pub async fn revoke_token(&self, id: Uuid) -> Result<(), Error> {
        self.run(Call::delete(format!("/tokens/{id}"))).await
    }

    /// The caller's agents, or for the global admin everybody's.
    ///
    /// # Errors
    /// 403 for everybody's; otherwise as every call.
    pub async fn agents(&self, all: bool) -> Result<Vec<Agent>, Error> {
        let call = Call::get("/agents".to_owned()).query_some("all", all.then_some(true));
        self.pages(call, None, None, |list: AgentList| list.agents, |agent| agent.id).await
    }

    /// Makes an agent. The secret of its token is told once.
    ///
    /// # Errors
    /// 409 while there is one of that name; otherwise as every call.
    pub async fn create_agent(&self, request: &CreateAgentRequest) -> Result<CreatedAgent, Error> {
        self.fetch(Call::post("/agents".to_owned()).json(request)?).await
    }

    /// Revokes an agent.
    ///
    /// # Errors
    /// 404 when the caller has none of that id; otherwise as every call.
    pub async fn revoke_agent(&self, id: Uuid) -> Result<(), Error> {
        self.run(Call::delete(format!("/agents/{id}"))).await
    }

    /// Ends all browser sessions of the caller, or for the global admin somebody else's.
    ///
    /// # Errors
    /// 403 for somebody else's; otherwise as every call.
    pub async fn end_sessions(&self, identity: Option<&str>) -> Result<(), Error> {
        self.run(Call::delete("/sessions".to_owned()).query_some("identity", identity)).await
    }

    /// The audit trail of the server, newest first: at most `limit` events, all when absent, before the position `after`.
    ///
    /// # Errors
    /// 403 for all but the global admin; otherwise as every call.
    pub async fn audit(&self, limit: Option<u32>, after: Option<i64>) -> Result<Vec<AuditEntry>, Error> {
        let call = Call::get("/audit".to_owned());
        self.pages(call, limit, after, |page: AuditPage| page.events, |entry| entry.position).await
    }
}

impl RepoClient {
    /// The same of the repo.
    ///
    /// # Errors
    /// 403 for all but its admins; otherwise as every call.
    pub async fn audit(&self, limit: Option<u32>, after: Option<i64>) -> Result<Vec<AuditEntry>, Error> {
        let call = Call::get(self.path("audit"));
        self.client.pages(call, limit, after, |page: AuditPage| page.events, |entry| entry.position).await
    }
}
