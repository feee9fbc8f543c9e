//! What a client hears when the connection to the database breaks at a certain point of its write, and what a second
//! attempt under the same key makes of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use docstore_database::testing::TestDatabase;
use docstore_test_support::{ADMIN, Person};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::{
    invariants,
    process::{ServerProcess, ServerSettings},
    support::{Repo, file, outcome_of},
};

/// Where the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Cut {
    Nowhere = 0,
    /// Before the database has seen the change.
    BeforeTheChange,
    /// The database has made the change, and does not hear that it shall commit.
    BeforeTheCommit,
    /// The database has committed, and its answer does not come back.
    AfterTheCommit,
}

/// In which transaction: the one whose statements hold this text.
const MARK: &[u8] = b"cut-here";

/// A wire to the database that breaks on demand, once.
#[derive(Clone)]
struct Wire {
    target: PgConnectOptions,
    cut: Arc<AtomicU8>,
}

impl Wire {
    /// Listens, and tells the URL of the database by way of this wire.
    async fn lay(database: &TestDatabase) -> (Self, String) {
        let url = database.settings().url.expose_secret();
        let wire = Self { target: url.parse().unwrap(), cut: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The same role, password and database, by way of this port. A socket folder in the query goes with the query.
        let mut through_here = url::Url::parse(url).unwrap();
        through_here.set_host(Some("127.0.0.1")).unwrap();
        through_here.set_port(Some(port)).unwrap();
        through_here.set_query(Some("sslmode=disable"));
        let url = through_here.to_string();
        let laid = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = laid.clone();
                // An error here is a connection that broke, on purpose or because one side went away.
                tokio::spawn(async move { wire.carry(client).await });
            }
        });
        (wire, url)
    }

    fn cut_at(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// Whether to break here; if so, it was the last time.
    fn is_cut(&self, cut: Cut) -> bool {
        self.cut.compare_exchange(cut as u8, Cut::Nowhere as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    async fn carry(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        match self.target.get_socket() {
            Some(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", self.target.get_port()));
                self.carry_between(client, UnixStream::connect(path).await?).await
            }
            None => {
                let address = (self.target.get_host(), self.target.get_port());
                let server = TcpStream::connect(address).await?;
                server.set_nodelay(true)?;
                self.carry_between(client, server).await
            }
        }
    }

    async fn carry_between(&self, client: TcpStream, server: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let deaf = AtomicBool::new(false);
        let there = async {
            // The first message has no type.
            let mut is_first = true;
            let mut is_marked = false;
            loop {
                let message = read_message(&mut from_client, is_first).await?;
                is_first = false;
                is_marked |= message.windows(MARK.len()).any(|window| window == MARK);
                if is_marked && self.is_cut(Cut::BeforeTheChange) {
                    return Ok(());
                }
                if is_marked && message == b"Q\0\0\0\x0bCOMMIT\0" {
                    if self.is_cut(Cut::BeforeTheCommit) {
                        return Ok(());
                    }
                    deaf.store(self.is_cut(Cut::AfterTheCommit), Ordering::SeqCst);
                    is_marked = false;
                }
                to_server.write_all(&message).await?;
            }
        };
        let back = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let length = from_server.read(&mut buffer).await?;
                if length == 0 || deaf.load(Ordering::SeqCst) {
                    return Ok(());
                }
                to_client.write_all(&buffer[..length]).await?;
            }
        };
        tokio::select! {
            ended = there => ended,
            ended = back => ended,
        }
    }
}

/// One message of PostgreSQL's protocol (manual, section 55.7).
async fn read_message(reader: &mut (impl AsyncRead + Unpin), is_first: bool) -> io::Result<Vec<u8>> {
    let mut message = vec![0; if is_first { 4 } else { 5 }];
    reader.read_exact(&mut message).await?;
    let length = u32::from_be_bytes(*message.last_chunk::<4>().unwrap());
    let head = message.len();
    message.resize(head + usize::try_from(length).unwrap() - 4, 0);
    reader.read_exact(&mut message[head..]).await?;
    Ok(message)
}

/// What the client hears, and whether the change is there then.
const CUTS: [(Cut, &str, bool); 3] = [
    (Cut::BeforeTheChange, "503 SERVICE_UNAVAILABLE", false),
    (Cut::BeforeTheCommit, "503 OUTCOME_UNKNOWN", false),
    (Cut::AfterTheCommit, "503 OUTCOME_UNKNOWN", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_told_from_a_refusal_and_found_out_by_asking_again() {
    let database = TestDatabase::create().await;
    let (wire, url) = Wire::lay(&database).await;
    let blobs = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(ServerSettings::new(&url, blobs.path())).await;
    let repo = Repo::new(Person::new(&server.url(), ADMIN), "default/default");
    let pool = database.pool().await;
    let large = "large ".repeat(3000);
    for (number, (cut, heard, is_there)) in CUTS.into_iter().enumerate() {
        let branch = format!("cut-here-{number}");
        let writes: [(&str, Value); 6] = [
            ("branch", json!({"name": branch})),
            ("commit", json!({"branch": branch, "message": "m", "files": [file("cut-here", large.as_bytes())]})),
            (
                "import",
                json!({"branch": branch, "commits": [
                    {"author": "a@example.com", "message": "cut-here", "imported_from": "git:1", "files": []},
                ]}),
            ),
            ("rebase", json!({"branch": branch})),
            ("merge", json!({"branch": branch})),
            ("releases", json!({"name": format!("cut-here-{number}")})),
        ];
        for (endpoint, body) in writes {
            let what = format!("{endpoint}, {cut:?}");
            // What a branch had on main must not be there already.
            let before = events(&pool).await;
            wire.cut_at(cut);
            let key = format!("{endpoint}-{number}");
            let interrupted = repo.post_once(endpoint, &body, &key).await;
            assert_eq!(outcome_of(&interrupted), heard, "{what}: {}", interrupted.text);
            assert_eq!(interrupted.headers["retry-after"], "1", "{what}");
            assert_eq!(events(&pool).await - before, i64::from(is_there), "{what}");
            // Asked again it is done, once.
            let first = repo.post_once(endpoint, &body, &key).await;
            assert!(first.status.is_success(), "{what}: {}", first.text);
            let second = repo.post_once(endpoint, &body, &key).await;
            assert_eq!((second.status, second.text), (first.status, first.text), "{what}");
            assert_eq!(events(&pool).await - before, 1, "{what}");
        }
    }
    repo.verified_chains().await;
    invariants::check(&pool, blobs.path()).await;
}

async fn events(pool: &docstore_database::Pool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM event_log").fetch_one(pool).await.unwrap()
}
