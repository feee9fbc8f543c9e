//! `ds orgs`, `ds org members`, `ds org invites`, and the policies of an org.

use super::{ANN, BOB, world};
use crate::support::terminal::Terminals;

#[tokio::test]
async fn orgs_and_their_repos() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(ANN).await;
    told.workspace(BOB).await;
    told.types(ANN, "orgs create acme").await;
    told.types(BOB, "orgs create acme").await;
    told.types(ANN, "orgs").await;
    told.types(ANN, "orgs get acme").await;
    told.types(ANN, "orgs get acme --json").await;
    told.types(ANN, "orgs get none").await;
    told.types(ANN, "repos create acme/app").await;
    told.types(ANN, "repos create acme lib").await;
    told.types(ANN, "repos create acme").await;
    told.types(ANN, "repos create none/app").await;
    told.types(ANN, "orgs repos acme").await;
    told.types(ANN, "orgs repos acme --json").await;
    told.types(ANN, "repos").await;
    told.types(ANN, "repo get acme/app").await;
    told.types(ANN, "repo get acme/none").await;
    told.types(BOB, "repos delete acme/app --yes").await;
    told.types(ANN, "orgs delete acme --yes").await;
    told.types_with(ANN, "repos delete acme/app", |context| {
        context.terminals.stdin = true;
        context.stdin = Box::new(std::io::Cursor::new("n\n"));
    })
    .await;
    told.types(ANN, "repos delete acme/app --yes").await;
    told.types(ANN, "repos delete acme/lib").await;
    told.types(BOB, "orgs delete acme").await;
    told.types(ANN, "orgs delete acme").await;
    told.types(ANN, "orgs list --json").await;
    insta::assert_snapshot!(told.text(), @r#"
    ann$ ds orgs create acme
    Created org 'acme'
    bob$ ds orgs create acme
    error: server error: org already exists
    [exit 3]
    ann$ ds orgs
    NAME                            CREATED BY            CREATED AT
    acme                            ann@example.com       DATE
    default                         system                DATE
    ann$ ds orgs get acme
    Name:       acme
    Created by: ann@example.com
    Created at: DATE
    ann$ ds orgs get acme --json
    {
      "name": "acme",
      "created_at": "TIME",
      "created_by": "ann@example.com"
    }
    ann$ ds orgs get none
    error: org 'none' not found
    [exit 1]
    ann$ ds repos create acme/app
    Created repo 'acme/app'
    ann$ ds repos create acme lib
    Created repo 'acme/lib'
    ann$ ds repos create acme
    error: repo name must be in owner/name format
    [exit 2]
    ann$ ds repos create none/app
    error: org 'none' not found
    [exit 1]
    ann$ ds orgs repos acme
    NAME                            OWNER                 CREATED BY            CREATED AT
    acme/app                        acme                  ann@example.com       DATE
    acme/lib                        acme                  ann@example.com       DATE
    ann$ ds orgs repos acme --json
    [
      {
        "name": "acme/app",
        "owner": "acme",
        "created_at": "TIME",
        "created_by": "ann@example.com"
      },
      {
        "name": "acme/lib",
        "owner": "acme",
        "created_at": "TIME",
        "created_by": "ann@example.com"
      }
    ]
    ann$ ds repos
    NAME                            OWNER                 CREATED BY            CREATED AT
    acme/app                        acme                  ann@example.com       DATE
    acme/lib                        acme                  ann@example.com       DATE
    default/default                 default               system                DATE
    ann$ ds repo get acme/app
    NAME                            OWNER                 CREATED BY            CREATED AT
    acme/app                        acme                  ann@example.com       DATE
    ann$ ds repo get acme/none
    error: repo 'acme/none' not found
    [exit 1]
    bob$ ds repos delete acme/app --yes
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    ann$ ds orgs delete acme --yes
    error: org 'acme' still has repos
    [exit 3]
    ann$ ds repos delete acme/app
    Delete repo 'acme/app' on http://SERVER and everything in it? [y/N] error: not confirmed; nothing was changed
    hint: use --yes to skip the question
    [exit 1]
    ann$ ds repos delete acme/app --yes
    Deleted repo 'acme/app'
    ann$ ds repos delete acme/lib
    Deleted repo 'acme/lib'
    bob$ ds orgs delete acme
    error: server error: forbidden: org owner required
    hint: status 403: bob@example.com may not do this
    [exit 4]
    ann$ ds orgs delete acme
    Deleted org 'acme'
    ann$ ds orgs list --json
    [
      {
        "name": "default",
        "created_at": "TIME",
        "created_by": "system"
      }
    ]
    "#);
}

#[tokio::test]
async fn policies_of_an_org() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(ANN).await;
    told.workspace(BOB).await;
    told.types(ANN, "orgs create acme").await;
    told.types(ANN, "policy org list acme").await;
    told.types(ANN, "policy init").await;
    told.types(ANN, "policy org set acme review .docstore/policy/review.rego").await;
    told.types(ANN, "policy org set acme broken .docstore/policy/review.cases.json").await;
    told.types(ANN, "policy org set acme none none.rego").await;
    told.types(ANN, "policy org list acme").await;
    told.types(BOB, "policy org delete acme review --yes").await;
    told.types(ANN, "policy org delete acme review --yes").await;
    told.types(ANN, "policy org delete acme review --yes").await;
    told.types(ANN, "policy org list acme --json").await;
    insta::assert_snapshot!(told.text(), @r"
    ann$ ds orgs create acme
    Created org 'acme'
    ann$ ds policy org list acme
    NAME                            SET BY                    SET AT
    ann$ ds policy init
    .docstore/policy/review.rego
    .docstore/policy/review.cases.json
    .docstore/policy/owners.rego
    .docstore/policy/owners.cases.json
    .docstore/policy/checks.rego
    .docstore/policy/checks.cases.json
    Test them with `ds policy test`, then commit them to main
    ann$ ds policy org set acme review .docstore/policy/review.rego
    Policy 'review' judges every repo of acme
    ann$ ds policy org set acme broken .docstore/policy/review.cases.json
    error: server error: org/broken.rego:1: expecting `package` Missing package declaration.
    [exit 3]
    ann$ ds policy org set acme none none.rego
    error: none.rego: No such file or directory (os error 2)
    [exit 1]
    ann$ ds policy org list acme
    NAME                            SET BY                    SET AT
    review                          ann@example.com           DATE CLOCK
    bob$ ds policy org delete acme review --yes
    error: server error: forbidden: org owner required
    hint: status 403: bob@example.com may not do this
    [exit 4]
    ann$ ds policy org delete acme review --yes
    Deleted policy 'review' of acme
    ann$ ds policy org delete acme review --yes
    error: server error: policy not found
    [exit 1]
    ann$ ds policy org list acme --json
    []
    ");
}

#[tokio::test]
async fn members_and_invitations() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(ANN).await;
    told.workspace(BOB).await;
    told.types(ANN, "orgs create acme").await;
    told.types(ANN, "org members list acme").await;
    told.types(BOB, "org members list acme").await;
    told.types(ANN, "org members add acme carl@example.com --role member").await;
    told.types(ANN, "org members add acme carl@example.com --role boss").await;
    told.types(ANN, "org members add none carl@example.com --role owner").await;
    let made = told.types(ANN, &format!("org invites create acme --email {} --role owner", BOB.to_uppercase())).await;
    let token = made.trim_end().rsplit('=').next().unwrap().to_owned();
    told.types(ANN, "org invites list acme").await;
    told.types("carl@example.com", &format!("--remote {} org invites accept acme {token}", app.base_url())).await;
    told.types(BOB, &format!("org invites accept acme {token}")).await;
    told.types(BOB, &format!("org invites accept acme {token}")).await;
    told.types(BOB, "org members list acme --json").await;
    let second = told.types(ANN, "org invites create acme --email dora@example.com --role member").await;
    let id = second.split("id=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    told.types(ANN, &format!("org invites revoke acme {id}")).await;
    told.types(ANN, &format!("org invites revoke acme {id}")).await;
    told.types(ANN, "org invites revoke acme x").await;
    told.types(ANN, "org invites list acme").await;
    told.types(ANN, "org members remove acme carl@example.com").await;
    told.types(ANN, &format!("org members remove acme {BOB}")).await;
    told.types(ANN, &format!("org members remove acme {ANN} --yes")).await;
    insta::assert_snapshot!(told.text(), @r#"
    ann$ ds orgs create acme
    Created org 'acme'
    ann$ ds org members list acme
    IDENTITY                        ROLE
    ann@example.com                 owner
    bob$ ds org members list acme
    error: server error: forbidden: not an org member
    hint: status 403: bob@example.com may not do this
    [exit 4]
    ann$ ds org members add acme carl@example.com --role member
    Added 'carl@example.com' to org 'acme' as 'member'
    ann$ ds org members add acme carl@example.com --role boss
    error: role must be 'owner' or 'member'
    [exit 2]
    ann$ ds org members add none carl@example.com --role owner
    error: org 'none' not found
    [exit 1]
    ann$ ds org invites create acme --email BOB@EXAMPLE.COM --role owner
    Invite created: id=ID-1 token=ID-2
    ann$ ds org invites list acme
    ID                                    EMAIL                           ROLE
    ID-1  BOB@EXAMPLE.COM                 owner
    carl$ ds --remote http://SERVER org invites accept acme ID-2
    error: server error: identity does not match invite email
    hint: status 403: whom the server takes you for may not do this; `ds whoami` tells
    [exit 4]
    bob$ ds org invites accept acme ID-2
    Accepted invite for org 'acme'
    bob$ ds org invites accept acme ID-2
    error: server error: invite already accepted
    [exit 3]
    bob$ ds org members list acme --json
    [
      {
        "org": "acme",
        "identity": "ann@example.com",
        "role": "owner",
        "invited_by": "ann@example.com",
        "created_at": "TIME"
      },
      {
        "org": "acme",
        "identity": "bob@example.com",
        "role": "owner",
        "invited_by": "ann@example.com",
        "created_at": "TIME"
      },
      {
        "org": "acme",
        "identity": "carl@example.com",
        "role": "member",
        "invited_by": "ann@example.com",
        "created_at": "TIME"
      }
    ]
    ann$ ds org invites create acme --email dora@example.com --role member
    Invite created: id=ID-3 token=ID-4
    ann$ ds org invites revoke acme ID-3
    Revoked invite 'ID-3' from org 'acme'
    ann$ ds org invites revoke acme ID-3
    error: server error: invite not found
    [exit 1]
    ann$ ds org invites revoke acme x
    error: 'x' is no id of an invite
    [exit 2]
    ann$ ds org invites list acme
    ID                                    EMAIL                           ROLE
    ann$ ds org members remove acme carl@example.com
    Removed 'carl@example.com' from org 'acme'
    ann$ ds org members remove acme bob@example.com
    Removed 'bob@example.com' from org 'acme'
    ann$ ds org members remove acme ann@example.com --yes
    error: server error: 'ann@example.com' is the last owner of the org; make somebody else owner first
    [exit 3]
    "#);
}
