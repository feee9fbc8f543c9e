//! A server with an org, a repo and people in it, and one good request for every operation of the API.

use docstore_database::Pool;
use docstore_test_support::{ADMIN, Answer};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    identities::{Verified, claimed_job, give_role, make_member},
    text_file, truth,
};

/// The repo of the fixture.
pub(crate) const REPO: &str = "acme/app";

/// The identities of the fixture and what they are in the repo [`REPO`] or its org.
pub(crate) const PEOPLE: [(&str, &str); 8] = [
    ("stranger@example.com", ""),
    ("reader@example.com", "reader"),
    ("writer@example.com", "writer"),
    ("maintainer@example.com", "maintainer"),
    ("admin-of-repo@example.com", "admin"),
    ("member@example.com", "member"),
    ("owner@example.com", "owner"),
    ("creator@example.com", "creator"),
];

/// A request, complete but for the credential.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// An answer with its bytes. The body of a stream of events is left out.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The server with what is on it.
pub(crate) struct Fixture {
    pub(crate) verified: Verified,
    pub(crate) pool: Pool,
    pub(crate) http: reqwest::Client,
    /// The id token of the global admin.
    pub(crate) admin_token: String,
    /// The request token of a CI job on `main`.
    pub(crate) request_token: String,
    /// The path of a subscription of the creator's.
    pub(crate) subscription: String,
    /// The path of one of its deliveries.
    pub(crate) delivery: String,
}

impl Fixture {
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        let verified = Verified::start_with(variables).await;
        let pool = verified.app.pool().await;
        Self::with(verified, pool).await
    }

    /// The same on a database that is not the test app's own; the pool is of it.
    pub(crate) async fn start_on(variables: &[(&str, &str)], pool: Pool) -> Self {
        Self::with(Verified::start_with(variables).await, pool).await
    }

    async fn with(verified: Verified, pool: Pool) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .no_gzip()
            .no_zstd()
            .build()
            .unwrap();
        let admin_token = verified.issuer.id_token(ADMIN);
        let mut fixture = Self {
            verified,
            pool,
            http,
            admin_token,
            request_token: String::new(),
            subscription: String::new(),
            delivery: String::new(),
        };
        fixture.fill().await;
        fixture
    }

    async fn fill(&mut self) {
        let creator = self.verified.issuer.id_token("creator@example.com");
        for (path, body) in [
            ("/orgs", json!({"name": "acme"})),
            ("/repos", json!({"owner": "acme", "name": "app"})),
            (
                "/repos/acme/app/-/commit",
                json!({"branch": "main", "message": "first", "files": [
                    text_file("a.txt", "a"), text_file("docs/b.md", "b"), text_file("big.bin", &"x".repeat(6000))]}),
            ),
            ("/repos/acme/app/-/branch", json!({"name": "topic"})),
            (
                "/repos/acme/app/-/commit",
                json!({"branch": "topic", "message": "second", "files": [text_file("c.txt", "c")]}),
            ),
            ("/repos/acme/app/-/releases", json!({"name": "v1"})),
        ] {
            let call = Call { method: Method::POST, path: path.to_owned(), body: body.to_string().into_bytes() };
            let got = self.send(&call, &[bearer(&creator)]).await;
            assert_eq!(got.status, 201, "{path}: {}", String::from_utf8_lossy(&got.body));
        }
        self.give_roles(REPO).await;
        make_member(&self.pool, "acme", "member@example.com", "member").await;
        make_member(&self.pool, "acme", "owner@example.com", "owner").await;
        self.subscription = self.fresh_subscription().await;
        // The first thing it is told of is itself.
        let call = Call { method: Method::GET, path: format!("{}/deliveries", self.subscription), body: Vec::new() };
        let list = self.send(&call, &[bearer(&creator)]).await.answer().expect(200);
        self.delivery = format!("{}/{}", call.path, list["deliveries"][0]["id"].as_str().unwrap());
        self.request_token = claimed_job(&self.pool, REPO, "main", "request-token-of-a-job").await;
    }

    async fn give_roles(&self, repo: &str) {
        for (identity, role) in PEOPLE {
            let role = if role == "creator" { "admin" } else { role };
            if !matches!(role, "" | "member" | "owner") {
                give_role(&self.pool, repo, identity, role).await;
            }
        }
    }

    /// Sends a request with these headers and reads the answer; of a stream only its head.
    pub(crate) async fn send(&self, call: &Call, headers: &[(&str, String)]) -> Got {
        let url = format!("{}{}", self.verified.app.base_url(), call.path);
        let mut request = self.http.request(call.method.clone(), url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if !call.body.is_empty() {
            request = request.body(call.body.clone());
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let is_stream = headers.get("content-type").is_some_and(|value| value == "text/event-stream");
        let body = if is_stream { Vec::new() } else { response.bytes().await.unwrap().to_vec() };
        Got { status, headers, body }
    }

    /// Does something as the global admin, and insists that it works.
    async fn admin(&self, method: Method, path: &str, body: Value) {
        let call = Call { method, path: path.to_owned(), body: body.to_string().into_bytes() };
        let got = self.send(&call, &[bearer(&self.admin_token)]).await;
        assert!(got.status.is_success(), "{}: {}", call.path, String::from_utf8_lossy(&got.body));
    }

    /// The secret of a token of the creator of [`REPO`], or of an agent: what `/tokens` or `/agents` makes of this.
    pub(crate) async fn secret(&self, path: &str, body: Value) -> String {
        self.creator(Method::POST, path, body).await["secret"].as_str().unwrap().to_owned()
    }

    /// Makes the creator of [`REPO`] do something, and insists that it works.
    pub(crate) async fn creator(&self, method: Method, path: &str, body: Value) -> Value {
        let token = self.verified.issuer.id_token("creator@example.com");
        let call = Call { method, path: path.to_owned(), body: body.to_string().into_bytes() };
        let got = self.send(&call, &[bearer(&token)]).await;
        assert!(got.status.is_success(), "{}: {}", call.path, String::from_utf8_lossy(&got.body));
        serde_json::from_slice(&got.body).unwrap_or_default()
    }

    /// A request of an operation that succeeds for whoever may do it, on something that was not used before: `fresh` is
    /// different for each call. For what a role is needed in, the people of the fixture have theirs.
    ///
    /// An operation that is new in the document has to be added here.
    pub(crate) async fn call(&self, operation: &str, fresh: usize) -> Call {
        let (path, body) = self.request(operation, fresh).await;
        let found = truth::document().operations.iter().find(|one| one.id == operation);
        let method = found.unwrap_or_else(|| panic!("no operation {operation}")).method.clone();
        Call { method, path, body }
    }

    async fn request(&self, operation: &str, n: usize) -> (String, Vec<u8>) {
        const R: &str = "/repos/acme/app/-";
        let none = Value::Null;
        let (path, body): (String, Value) = match operation {
            "healthz" => ("/healthz".into(), none),
            "readyz" => ("/readyz".into(), none),
            "metrics" => ("/metrics".into(), none),
            "ds_config" => ("/.well-known/ds-config".into(), none),
            "openapi" => ("/openapi.json".into(), none),
            "login" => ("/auth/login".into(), none),
            "callback" => ("/auth/callback".into(), none),
            "logout" => ("/auth/logout".into(), none),
            "whoami" => ("/whoami".into(), none),
            "list_rights" => ("/whoami/rights".into(), none),
            "list_tokens" => ("/tokens".into(), none),
            "create_token" => ("/tokens".into(), json!({"name": format!("token {n}")})),
            "revoke_token" => {
                let made = self.creator(Method::POST, "/tokens", json!({"name": "to be revoked"})).await;
                (format!("/tokens/{}", made["token"]["id"].as_str().unwrap()), none)
            }
            "list_agents" => ("/agents".into(), none),
            "create_agent" => ("/agents".into(), json!({"name": format!("agent-{n}")})),
            "revoke_agent" => {
                let made = self.creator(Method::POST, "/agents", json!({"name": format!("gone-{n}")})).await;
                (format!("/agents/{}", made["agent"]["id"].as_str().unwrap()), none)
            }
            "end_sessions" => ("/sessions".into(), none),
            "list_orgs" => ("/orgs".into(), none),
            "create_org" => ("/orgs".into(), json!({"name": format!("org{n}")})),
            "get_org" => ("/orgs/acme".into(), none),
            "delete_org" => {
                self.admin(Method::POST, "/orgs", json!({"name": format!("gone{n}")})).await;
                make_member(&self.pool, &format!("gone{n}"), "member@example.com", "member").await;
                make_member(&self.pool, &format!("gone{n}"), "owner@example.com", "owner").await;
                (format!("/orgs/gone{n}"), none)
            }
            "list_org_repos" => ("/orgs/acme/repos".into(), none),
            "list_repos" => ("/repos".into(), none),
            "create_repo" => ("/repos".into(), json!({"owner": "acme", "name": format!("new{n}")})),
            "get_repo" => ("/repos/acme/app".into(), none),
            "delete_repo" => {
                self.creator(Method::POST, "/repos", json!({"owner": "acme", "name": format!("gone{n}")})).await;
                self.give_roles(&format!("acme/gone{n}")).await;
                (format!("/repos/acme/gone{n}"), none)
            }
            "tree" => (format!("{R}/tree"), none),
            "archive" => (format!("{R}/archive?branch=main"), none),
            "archive_paths" => (format!("{R}/archive"), json!({"paths": ["a.txt"]})),
            "presign_archive" => (format!("{R}/archive/presign"), none),
            "file" => (format!("{R}/file/a.txt"), none),
            "file_history" => (format!("{R}/file/a.txt/history"), none),
            "get_commit" => (format!("{R}/commit/1"), none),
            "list_commits" => (format!("{R}/commits"), none),
            "chain" => (format!("{R}/chain?from=1&to=2"), none),
            "diff" => (format!("{R}/diff?branch=topic"), none),
            "list_branches" => (format!("{R}/branches"), none),
            "repo_events" => (format!("{R}/events"), none),
            "commit" => (
                format!("{R}/commit"),
                json!({"branch": "topic", "message": "m", "files": [text_file(&format!("f{n}.txt"), "x")]}),
            ),
            "missing_contents" => (format!("{R}/contents/missing"), json!({"hashes": ["0".repeat(64)]})),
            "upload_content" => {
                let bytes = format!("content {n}").into_bytes();
                return (format!("{R}/contents/{}", hex::encode(Sha256::digest(&bytes))), bytes);
            }
            // A draft, which does not merge by itself before the test is over.
            "enable_auto_merge" | "disable_auto_merge" => {
                let name = format!("draft{n}");
                self.creator(Method::POST, &format!("{R}/branch"), json!({"name": name, "draft": true})).await;
                (format!("{R}/branch/{name}/auto-merge"), none)
            }
            "create_branch" => (format!("{R}/branch"), json!({"name": format!("new{n}")})),
            "get_branch" => (format!("{R}/branch/topic"), none),
            "update_branch" => (format!("{R}/branch/topic"), json!({"draft": false})),
            "delete_branch" => (format!("{R}/branch/{}", self.fresh_branch(n).await), none),
            "merge" => (format!("{R}/merge"), json!({"branch": self.fresh_branch(n).await})),
            "rebase" => (format!("{R}/rebase"), json!({"branch": self.fresh_branch(n).await})),
            "create_proposal" => {
                (format!("{R}/proposals"), json!({"branch": self.fresh_branch(n).await, "title": "a proposal"}))
            }
            "list_proposals" => (format!("{R}/proposals"), none),
            "get_proposal" => (format!("{R}/proposals/{}", self.fresh_proposal(n).await), none),
            "update_proposal" => {
                (format!("{R}/proposals/{}", self.fresh_proposal(n).await), json!({"title": "better"}))
            }
            "close_proposal" => (format!("{R}/proposals/{}/close", self.fresh_proposal(n).await), none),
            "reopen_proposal" => {
                let path = format!("{R}/proposals/{}", self.fresh_proposal(n).await);
                self.creator(Method::POST, &format!("{path}/close"), none.clone()).await;
                (format!("{path}/reopen"), none)
            }
            "list_proposal_issues" => (format!("{R}/proposals/{}/issues", uuid::Uuid::nil()), none),
            "create_issue" => (format!("{R}/issues"), json!({"title": "an issue", "labels": ["bug"]})),
            "list_issues" => (format!("{R}/issues"), none),
            "get_issue" => (format!("{R}/issues/{}", self.fresh_issue().await), none),
            "update_issue" => (format!("{R}/issues/{}", self.fresh_issue().await), json!({"title": "better"})),
            "close_issue" => (format!("{R}/issues/{}/close", self.fresh_issue().await), json!({"reason": "duplicate"})),
            "reopen_issue" => {
                let path = format!("{R}/issues/{}", self.fresh_issue().await);
                self.creator(Method::POST, &format!("{path}/close"), none.clone()).await;
                (format!("{path}/reopen"), none)
            }
            "list_issue_comments" => (format!("{R}/issues/{}/comments", self.fresh_issue().await), none),
            "create_issue_comment" => {
                (format!("{R}/issues/{}/comments", self.fresh_issue().await), json!({"body": "a comment"}))
            }
            "update_issue_comment" => (self.fresh_comment().await, json!({"body": "better"})),
            "delete_issue_comment" => (self.fresh_comment().await, none),
            "list_issue_refs" => (format!("{R}/issues/{}/refs", self.fresh_issue().await), none),
            "create_issue_ref" => {
                (format!("{R}/issues/{}/refs", self.fresh_issue().await), json!({"ref_type": "commit", "ref_id": "1"}))
            }
            "list_commit_issues" => (format!("{R}/commit/1/issues"), none),
            "list_members" => ("/orgs/acme/members".into(), none),
            "set_member" => (format!("/orgs/acme/members/new{n}@example.com"), json!({"role": "member"})),
            "delete_member" => {
                make_member(&self.pool, "acme", &format!("gone{n}@example.com"), "member").await;
                (format!("/orgs/acme/members/gone{n}@example.com"), none)
            }
            "list_invites" => ("/orgs/acme/invites".into(), none),
            "create_invite" => {
                ("/orgs/acme/invites".into(), json!({"email": format!("new{n}@example.com"), "role": "member"}))
            }
            // It is for the creator of the repo.
            "accept_invite" => {
                let invite = self.fresh_invite().await;
                (format!("/orgs/acme/invites/{}/accept", invite["token"].as_str().unwrap()), none)
            }
            "delete_invite" => {
                (format!("/orgs/acme/invites/{}", self.fresh_invite().await["id"].as_str().unwrap()), none)
            }
            "merge_status" => (format!("{R}/branch/topic/status"), none),
            "agent_context" => (format!("{R}/branch/topic/agent-context"), none),
            "why" => (format!("{R}/branch/topic/why"), none),
            "list_verdicts" => (format!("{R}/policies/verdicts"), none),
            "replay_policies" => (
                format!("{R}/policies/replay"),
                json!({"policies": [{"file": "a.rego", "source": "package docstore.a\nallow := true\n"}]}),
            ),
            "list_org_policies" => ("/orgs/acme/policies".into(), none),
            "set_org_policy" => {
                (format!("/orgs/acme/policies/p{n}"), json!({"source": "package docstore.a\nallow := true\n"}))
            }
            "delete_org_policy" => {
                self.admin(
                    Method::PUT,
                    &format!("/orgs/acme/policies/gone{n}"),
                    json!({"source": "package docstore.a\nallow := true\n"}),
                )
                .await;
                (format!("/orgs/acme/policies/gone{n}"), none)
            }
            "list_releases" => (format!("{R}/releases"), none),
            "create_release" => (format!("{R}/releases"), json!({"name": format!("v{n}.0")})),
            "get_release" => (format!("{R}/releases/v1"), none),
            "delete_release" => {
                self.creator(Method::POST, &format!("{R}/releases"), json!({"name": format!("gone{n}")})).await;
                (format!("{R}/releases/gone{n}"), none)
            }
            "list_obliterations" => (format!("{R}/obliterations"), none),
            "preview_obliteration" => (format!("{R}/obliterations/preview?path=a.txt"), none),
            "obliterate" => {
                let (path, branch) = (format!("leak{n}.txt"), self.fresh_branch(n).await);
                let files = json!([text_file(&path, &format!("leaked {n}"))]);
                let body = json!({"branch": branch, "message": "m", "files": files});
                self.creator(Method::POST, &format!("{R}/commit"), body).await;
                (format!("{R}/obliterations"), json!({"path": path, "branch": branch, "reason": "leaked"}))
            }
            "list_roles" => (format!("{R}/roles"), none),
            "set_role" => (format!("{R}/roles/new{n}@example.com"), json!({"role": "reader"})),
            "delete_role" => {
                give_role(&self.pool, REPO, &format!("gone{n}@example.com"), "reader").await;
                (format!("{R}/roles/gone{n}@example.com"), none)
            }
            "purge" => (format!("{R}/purge"), json!({"older_than": "30d"})),
            "import" => (
                format!("{R}/import"),
                json!({"branch": "topic", "commits": [{"author": "a@example.com", "message": "m",
                    "imported_from": "git:1", "files": [text_file(&format!("i{n}.txt"), "x")]}]}),
            ),
            "list_reviews" => (format!("{R}/branch/topic/reviews"), none),
            "list_comments" => (format!("{R}/branch/topic/comments"), none),
            "list_checks" => (format!("{R}/branch/topic/checks"), none),
            "create_review" => (format!("{R}/review"), json!({"branch": "topic", "status": "rejected"})),
            "create_comment" => (format!("{R}/comment"), self.comment().await),
            "update_comment" => {
                (format!("{R}/comment/{}", self.fresh_review_comment().await), json!({"resolved": true}))
            }
            "delete_comment" => (format!("{R}/comment/{}", self.fresh_review_comment().await), none),
            // The branch of the fixture's CI job. What the job reported once, nobody else does.
            "report_check" => {
                let name = format!("test{n}");
                (format!("{R}/check"), json!({"branch": "main", "check_name": name, "status": "passed"}))
            }
            "retry_checks" => {
                let name = format!("flaky{n}");
                let body = json!({"branch": "topic", "check_name": name, "status": "failed"});
                self.creator(Method::POST, &format!("{R}/check"), body).await;
                (format!("{R}/checks/retry"), json!({"branch": "topic", "checks": [name]}))
            }
            "list_required_checks" => (format!("{R}/required-checks"), none),
            "require_check" => {
                (format!("{R}/required-checks"), json!({"check_name": "test", "branch_pattern": "none/*"}))
            }
            "delete_required_check" => {
                let body = json!({"check_name": format!("gone{n}"), "branch_pattern": "none/*"});
                self.creator(Method::PUT, &format!("{R}/required-checks"), body).await;
                (format!("{R}/required-checks?check_name=gone{n}&branch_pattern=none/*"), none)
            }
            "repo_audit" => (format!("{R}/audit"), none),
            "all_events" => ("/events".into(), none),
            "audit" => ("/audit".into(), none),
            "event_log" => ("/events/log".into(), none),
            "repo_event_log" => (format!("{R}/events/log"), none),
            "list_secrets" => (format!("{R}/secrets"), none),
            "set_secret" => (format!("{R}/secrets/NEW_{n}"), json!({"value": "v"})),
            "delete_secret" => {
                self.creator(Method::PUT, &format!("{R}/secrets/GONE_{n}"), json!({"value": "v"})).await;
                (format!("{R}/secrets/GONE_{n}"), none)
            }
            "reveal_secrets" => (format!("{R}/secrets/reveal"), json!({"names": ["TOKEN"]})),
            "rewrap_secrets" => ("/secrets/rewrap".into(), json!({})),
            "list_subscriptions" => ("/subscriptions".into(), none),
            "create_subscription" => ("/subscriptions".into(), subscription()),
            "delete_subscription" => (self.fresh_subscription().await, none),
            "get_subscription" => (self.subscription.clone(), none),
            "update_subscription" => (self.subscription.clone(), json!({"event_types": ["com.docstore.x"]})),
            "resume_subscription" => (format!("{}/resume", self.subscription), none),
            "ping_subscription" => (format!("{}/ping", self.subscription), none),
            "list_deliveries" => (format!("{}/deliveries", self.subscription), none),
            "get_delivery" => (self.delivery.clone(), none),
            "redeliver" => (format!("{}/redeliver", self.subscription), json!({"since": "2020-01-01T00:00:00Z"})),
            other => panic!("the operation {other} is new: add a good request for it here"),
        };
        (path, if body.is_null() { Vec::new() } else { body.to_string().into_bytes() })
    }

    async fn fresh_proposal(&self, n: usize) -> String {
        let body = json!({"branch": self.fresh_branch(n).await, "title": "a proposal"});
        let created = self.creator(Method::POST, "/repos/acme/app/-/proposals", body).await;
        created["id"].as_str().unwrap().to_owned()
    }

    async fn fresh_issue(&self) -> i64 {
        let body = json!({"title": "an issue"});
        self.creator(Method::POST, "/repos/acme/app/-/issues", body).await["number"].as_i64().unwrap()
    }

    /// The path of a new comment.
    async fn fresh_comment(&self) -> String {
        let path = format!("/repos/acme/app/-/issues/{}/comments", self.fresh_issue().await);
        let created = self.creator(Method::POST, &path, json!({"body": "a comment"})).await;
        format!("{path}/{}", created["id"].as_str().unwrap())
    }

    async fn fresh_invite(&self) -> Value {
        let body = json!({"email": "Creator@Example.com", "role": "member"});
        self.creator(Method::POST, "/orgs/acme/invites", body).await
    }

    /// A comment on a file of the branch `topic`.
    async fn comment(&self) -> Value {
        let path = "/repos/acme/app/-/file/c.txt?branch=topic".to_owned();
        let file = self.creator(Method::GET, &path, Value::Null).await;
        json!({"branch": "topic", "path": "c.txt", "version_id": file["version_id"], "body": "why?"})
    }

    /// A comment of the creator that is there.
    async fn fresh_review_comment(&self) -> String {
        let created = self.creator(Method::POST, "/repos/acme/app/-/comment", self.comment().await).await;
        created["id"].as_str().unwrap().to_owned()
    }

    /// The path of a new subscription of the creator's.
    async fn fresh_subscription(&self) -> String {
        let body = subscription().to_string().into_bytes();
        let call = Call { method: Method::POST, path: "/subscriptions".into(), body };
        let token = self.verified.issuer.id_token("creator@example.com");
        let created = self.send(&call, &[bearer(&token)]).await.answer().expect(201);
        format!("/subscriptions/{}", created["id"].as_str().unwrap())
    }

    async fn fresh_branch(&self, n: usize) -> String {
        let name = format!("fresh{n}");
        self.creator(Method::POST, "/repos/acme/app/-/branch", json!({"name": name})).await;
        name
    }
}

/// A subscription to [`REPO`], at an address where nobody listens.
fn subscription() -> Value {
    json!({"repo": REPO, "backend": "webhook", "config": {"url": "http://127.0.0.1:9/", "secret": "s"}})
}

/// The header of a bearer.
pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

impl Got {
    /// As an answer of the test app.
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            status: self.status,
            headers: self.headers.clone(),
            text: String::from_utf8_lossy(&self.body).into_owned(),
        }
    }
}
