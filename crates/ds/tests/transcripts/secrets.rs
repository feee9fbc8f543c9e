//! `ds secrets`, against a stand-in that answers as the server does and keeps what it was asked.

use serde_json::{Value, json};

use crate::support::Terminal;

fn secret(name: &str) -> Value {
    json!({"id": "01900000-0000-4000-8000-000000000001", "name": name, "description": "for <tests>", "size_bytes": 6,
        "created_by": "me@example.com", "created_at": "2026-01-01T00:00:00Z"})
}

fn answer(method: &str, path: &str, text: &str) -> (u16, Value) {
    let path = path.strip_prefix("/repos/default/default/-").unwrap_or(path);
    let mut used = secret("USED");
    used["updated_at"] = json!("2026-01-02T00:00:00.5Z");
    used["last_used_at"] = json!("2026-01-03T00:00:00Z");
    match (method, path) {
        ("GET", "/secrets") => (200, json!({"secrets": [secret("TOKEN"), used]})),
        ("PUT", _) => (200, secret("TOKEN")),
        ("DELETE", "/secrets/TOKEN") => (204, Value::Null),
        ("POST", "/secrets/rewrap") if text == "{}" => {
            (200, json!({"rewrapped": 50, "next_after": "01900000-0000-4000-8000-000000000002"}))
        }
        ("POST", "/secrets/rewrap") => (200, json!({"rewrapped": 7, "failed": ["acme/app OLD"]})),
        _ => (404, json!({"code": "NOT_FOUND", "error": "secret not found"})),
    }
}

/// A server whose list is bare, as the original's client expected it.
fn old_answer(_method: &str, _path: &str, _text: &str) -> (u16, Value) {
    (200, json!([secret("TOKEN")]))
}

#[tokio::test]
async fn secrets_are_set_and_listed_and_never_shown() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    me.types("secrets list").await;
    me.types_with("secrets set TOKEN -", b"s3cret", &[]).await;
    me.types_with(
        "secrets set TOKEN - --description deploys --branches main,release/* --checks test",
        b"s3cret\n",
        &[],
    )
    .await;
    me.types_with("secrets set TOKEN -", &[0, 255], &[]).await;
    me.person().write("token.bin", "from a file");
    me.types("secrets set TOKEN --from-file=token.bin").await;
    me.types("secrets unset TOKEN").await;
    me.types("secrets unset OTHER").await;
    me.types("secrets rewrap").await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds secrets list
    NAME                      SIZE    UPDATED                      LAST_USED                    DESCRIPTION
    TOKEN                     6       2026-01-01T00:00:00Z         -                            for <tests>
    USED                      6       2026-01-02T00:00:00.5Z       2026-01-03T00:00:00Z         for <tests>
      > GET /repos/default/default/-/secrets?limit=1000
    $ ds secrets set TOKEN -
    Set TOKEN (6 bytes)
      > PUT /repos/default/default/-/secrets/TOKEN {"value":"s3cret"}
    $ ds secrets set TOKEN - --description deploys --branches main,release/* --checks test
    Set TOKEN (7 bytes)
    warning: the value ends with a line break, which is kept
      > PUT /repos/default/default/-/secrets/TOKEN {"value":"s3cret\n","description":"deploys","branches":["main","release/*"],"checks":["test"]}
    $ ds secrets set TOKEN -
    Set TOKEN (2 bytes)
      > PUT /repos/default/default/-/secrets/TOKEN {"value_base64":"AP8="}
    $ ds secrets set TOKEN --from-file=token.bin
    Set TOKEN (11 bytes)
      > PUT /repos/default/default/-/secrets/TOKEN {"value":"from a file"}
    $ ds secrets unset TOKEN
    Unset TOKEN
      > DELETE /repos/default/default/-/secrets/TOKEN
    $ ds secrets unset OTHER
    error: secret OTHER not found
    [exit 1]
      > DELETE /repos/default/default/-/secrets/OTHER
    $ ds secrets rewrap
    Encrypted 57 secrets anew
    error: no key decrypts 1 of them: acme/app OLD
    hint: configure their keys with DOCSTORE_SECRETS_OLD_KMS_KEYS or DOCSTORE_SECRETS_OLD_KEY_FILES, or set them again
    [exit 1]
      > POST /secrets/rewrap {}
      > POST /secrets/rewrap {"after":"01900000-0000-4000-8000-000000000002"}
    "#);
}

#[tokio::test]
async fn what_cannot_be_a_secret_never_leaves_the_machine() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    me.types_with("secrets set token -", b"s3cret", &[]).await;
    me.types_with("secrets set DOCSTORE_TOKEN -", b"s3cret", &[]).await;
    me.types("secrets set TOKEN").await;
    me.types_with("secrets set TOKEN - --from-file token.bin", b"s3cret", &[]).await;
    me.types_with("secrets set TOKEN -", b"", &[]).await;
    me.types_with("secrets set TOKEN -", &[b'x'; 32_769], &[]).await;
    me.types("secrets set TOKEN --value s3cret").await;
    me.types("secrets set TOKEN --from-file missing").await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds secrets set token -
    error: secret name 'token' must match ^[A-Z][A-Z0-9_]{0,63}$
    [exit 2]
    $ ds secrets set DOCSTORE_TOKEN -
    error: secret name 'DOCSTORE_TOKEN' uses the reserved prefix DOCSTORE_
    [exit 2]
    $ ds secrets set TOKEN
    error: give the value either by - on standard input or by --from-file
    [exit 2]
    $ ds secrets set TOKEN - --from-file token.bin
    error: give the value either by - on standard input or by --from-file
    [exit 2]
    $ ds secrets set TOKEN -
    error: secret value is empty
    [exit 2]
    $ ds secrets set TOKEN -
    error: secret value exceeds maximum size of 32768 bytes
    [exit 2]
    $ ds secrets set TOKEN --value s3cret
    error: --value is not accepted: others on this machine could read the value
    hint: write it to a file and use --from-file, or pipe it in and use -
    [exit 2]
    $ ds secrets set TOKEN --from-file missing
    error: cannot read the value from missing: No such file or directory (os error 2)
    [exit 1]
    "#);
}

#[tokio::test]
async fn a_bare_list_of_an_old_server_is_read() {
    let mut me = Terminal::new(old_answer).await.in_workspace().await;
    me.types("secrets list").await;
    me.types("secrets list --json").await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds secrets list
    NAME                      SIZE    UPDATED                      LAST_USED                    DESCRIPTION
    TOKEN                     6       2026-01-01T00:00:00Z         -                            for <tests>
      > GET /repos/default/default/-/secrets?limit=1000
    $ ds secrets list --json
    [
      {
        "id": "01900000-0000-4000-8000-000000000001",
        "name": "TOKEN",
        "description": "for <tests>",
        "size_bytes": 6,
        "created_by": "me@example.com",
        "created_at": "2026-01-01T00:00:00Z"
      }
    ]
      > GET /repos/default/default/-/secrets?limit=1000
    "#);
}
