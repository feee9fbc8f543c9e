//! Every kind of receiver at the loop of a server, side by side.

use std::{sync::Arc, time::Duration};

use docstore_test_support::{ADMIN, Behaviour, Receiver};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{numbers, stage::Stage};

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

/// A receiver that shows a certificate nobody vouches for, to whoever comes.
async fn untrusted() -> String {
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("../../../../webhooks/tests/self-signed.cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../../webhooks/tests/self-signed.key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor =
        TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            assert!(acceptor.accept(stream).await.is_err(), "the certificate was taken as it is");
        }
    });
    url
}

#[tokio::test]
async fn the_loop_goes_on_whatever_receivers_do() {
    // What hangs is waited for; what answers has time enough on a busy machine.
    let stage = Stage::with_timeout(Duration::from_secs(3)).await;
    let inside = Receiver::start(Behaviour::Status(200)).await;
    let mut bad = Vec::new();
    for behaviour in [
        Behaviour::Hang,
        Behaviour::Reset,
        Behaviour::Status(500),
        Behaviour::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()),
        Behaviour::Redirect(inside.url().to_owned()),
        Behaviour::Trickle,
    ] {
        bad.push(Receiver::start(behaviour).await);
    }
    let (endless, good) = (Receiver::start(Behaviour::Endless).await, Receiver::start(Behaviour::Status(200)).await);
    let mut subscriptions = Vec::new();
    for receiver in &bad {
        subscriptions.push(stage.subscribe(ADMIN, receiver.url(), None).await.id);
    }
    for url in [nowhere().await, untrusted().await] {
        subscriptions.push(stage.subscribe(ADMIN, &url, None).await.id);
    }
    for receiver in [&endless, &good] {
        stage.subscribe(ADMIN, receiver.url(), None).await;
    }
    let delivering = stage.start_loop();
    for n in 1..=4 {
        stage.log([n]).await;
        delivering.announce();
        // A gigabyte behind a 200 is not read.
        for receiver in [&endless, &good] {
            receiver.wait_for(usize::try_from(n).unwrap()).await;
        }
    }
    stage.until("SELECT count(*) = 8 FROM delivery_turns WHERE failures = 1 AND holder IS NULL").await;
    let mut told = Vec::new();
    for id in &subscriptions {
        let list = stage.operations.list_deliveries(&stage.owner(*id).await, None, None, None).await.unwrap();
        // What follows the first words of a broken connection is the system's.
        let error = list.last().unwrap().last_error.clone().unwrap();
        told.push(error.split(": client error").next().unwrap().to_owned());
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    no answer within 3 s
    error sending request
    status 500
    status 301; redirects are not followed
    status 301; redirects are not followed
    no answer within 3 s
    error sending request
    error sending request
    "#);
    // They heal, and get what they have not taken, in order. Whoever had it and did not say so has it twice.
    bad.iter().for_each(|receiver| receiver.usually(Behaviour::Status(200)));
    stage.advance(1);
    delivering.announce();
    for receiver in &bad {
        let received = receiver.wait_for(5).await;
        assert_eq!(numbers(&received), [1, 1, 2, 3, 4]);
        assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"), "so that it can be told apart");
        let attempts: Vec<Option<i64>> = received.iter().map(|one| one.number("x-docstore-attempt")).collect();
        assert_eq!(attempts, [1, 2, 1, 1, 1].map(Some));
    }
    stage.until("SELECT count(*) = 2 FROM delivery_turns WHERE failures = 2 AND holder IS NULL").await;
    delivering.stop().await;
    assert_eq!(numbers(&good.received()), [1, 2, 3, 4]);
    assert!(inside.received().is_empty(), "nobody follows a redirect");
}
