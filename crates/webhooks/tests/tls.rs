//! A receiver whose certificate nobody vouches for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::{sync::Arc, time::Duration};

use docstore_webhooks::{Message, Sender, Settings};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("self-signed.cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("self-signed.key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_wrong_certificate_is_a_failure_and_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let acceptor = acceptor();
    // Whoever takes the certificate as it is gets an answer.
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.ok()?;
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.ok()?;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        (length > 0).then_some(length)
    });
    let settings = Settings {
        timeout: Duration::from_secs(10),
        concurrent_max: 2,
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let message = Message { url: &url, secrets: &[], event_id: Uuid::nil(), timestamp: 0, body: "{}", delivery: None };
    let sent = Sender::new(&settings).unwrap().send(message).await;
    assert_eq!(sent.status, None);
    let error = sent.error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.await.unwrap(), None, "nothing was sent");
}
