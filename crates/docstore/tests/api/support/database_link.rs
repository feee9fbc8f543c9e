//! A wire to the database that can be cut.

use std::sync::Arc;

use docstore_database::testing::TestDatabase;
use secrecy::ExposeSecret;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use url::Url;

/// A database of its own, reached through a port that can go away.
pub(crate) struct DatabaseLink {
    /// The URL of the database through this link.
    pub(crate) url: String,
    pub(crate) database: TestDatabase,
    cut: CancellationToken,
    task: JoinHandle<()>,
}

impl DatabaseLink {
    pub(crate) async fn open() -> Self {
        let database = TestDatabase::create().await;
        let mut url: Url = database.settings().url.expose_secret().parse().unwrap();
        let target = Arc::new(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let cut = CancellationToken::new();
        let until = cut.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut here, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = until.cancelled() => return,
                };
                let (target, until) = (target.clone(), until.clone());
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(target.as_str()).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => {}
                        () = until.cancelled() => {}
                    }
                });
            }
        });
        Self { url: url.to_string(), database, cut, task }
    }

    /// Ends all connections and lets no new one in.
    pub(crate) async fn cut(self) -> TestDatabase {
        self.cut.cancel();
        self.task.await.unwrap();
        self.database
    }
}
