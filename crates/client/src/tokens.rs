use docstore_models::{
    Agent, AgentList, AuditEntry, AuditPage, CreateAgentRequest, CreateTokenRequest, CreatedAgent, CreatedToken, Right,
    RightList, Token, TokenList,
};
use uuid::Uuid;

use crate::{Client, Error, RepoClient, transport::Call};

/// How many tokens or agents are asked for at once.
const PAGE: usize = 100;

impl Client {
    /// One page of the repos in which the caller has a role; `after` is the name of the last one of the page before.
    ///
    /// # Errors
    /// As every call.
    pub async fn rights(&self, limit: Option<u32>, after: Option<&str>) -> Result<Vec<Right>, Error> {
        let call = Call::get("/whoami/rights".to_owned()).query_some("limit", limit).query_some("after", after);
        self.fetch::<RightList>(call).await.map(|list| list.rights)
    }

    /// The caller's API tokens, or for the global admin everybody's.
    ///
    /// # Errors
    /// 403 for everybody's; otherwise as every call.
    pub async fn tokens(&self, all: bool) -> Result<Vec<Token>, Error> {
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            let call =
                Call::get("/tokens".to_owned()).query_some("all", all.then_some(true)).query("limit", PAGE.to_string());
            let call = call.query_some("after", tokens.last().map(|last| last.id));
            let page = self.fetch::<TokenList>(call).await?.tokens;
            let is_last = page.len() < PAGE;
            tokens.extend(page);
            if is_last {
                return Ok(tokens);
            }
        }
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
        let mut agents: Vec<Agent> = Vec::new();
        loop {
            let call =
                Call::get("/agents".to_owned()).query_some("all", all.then_some(true)).query("limit", PAGE.to_string());
            let call = call.query_some("after", agents.last().map(|last| last.id));
            let page = self.fetch::<AgentList>(call).await?.agents;
            let is_last = page.len() < PAGE;
            agents.extend(page);
            if is_last {
                return Ok(agents);
            }
        }
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

    /// One page of the audit trail of the server, newest first; `after` is the position of the last event of the page
    /// before.
    ///
    /// # Errors
    /// 403 for all but the global admin; otherwise as every call.
    pub async fn audit(&self, limit: Option<u32>, after: Option<i64>) -> Result<Vec<AuditEntry>, Error> {
        let call = Call::get("/audit".to_owned()).query_some("limit", limit).query_some("after", after);
        self.fetch::<AuditPage>(call).await.map(|page| page.events)
    }
}

impl RepoClient {
    /// One page of the audit trail of the repo, newest first.
    ///
    /// # Errors
    /// 403 for all but its admins; otherwise as every call.
    pub async fn audit(&self, limit: Option<u32>, after: Option<i64>) -> Result<Vec<AuditEntry>, Error> {
        let call = Call::get(self.path("audit")).query_some("limit", limit).query_some("after", after);
        self.client.fetch::<AuditPage>(call).await.map(|page| page.events)
    }
}
