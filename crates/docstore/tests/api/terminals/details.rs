//! Issues and proposals with what goes with them, and everything about a branch.

use super::{BOB, world};
use crate::support::{REPO, branch, commit, terminal::Terminals};

#[tokio::test]
async fn everything_about_a_branch_as_json() {
    let app = world().await;
    let me = app.admin();
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("b", Some("2"))]).await;
    let mut told = Terminals::of(&app);
    told.workspace(BOB).await;
    told.types(BOB, "issues create --title First").await;
    told.types(BOB, "issues comment list 1").await;
    told.types(BOB, "issues comment add 1 --body \"I see\"").await;
    told.types(BOB, "proposal open --branch topic --title \"Add b\" --description \"closes #1\"").await;
    told.types(BOB, "issues tie 1 --commit 2").await;
    told.types(BOB, "issues show 1 --json").await;
    told.types(BOB, "issues comment list 1").await;
    told.types(BOB, "issues comment list 1 --json").await;
    told.types(BOB, "issues comment list 2").await;
    told.types(BOB, "issues --commit 2").await;
    told.types(BOB, "issues --commit 1").await;
    told.types(BOB, "issues --commit 2 --state open").await;
    told.types(BOB, "checkout topic").await;
    told.types(BOB, "proposal show --json").await;
    told.types(BOB, "context").await;
    told.types(BOB, "context none").await;
    insta::assert_snapshot!(told.text(), @r#"
    bob$ ds issues create --title First
    Created issue #1
    bob$ ds issues comment list 1
    No comments on issue #1
    bob$ ds issues comment add 1 --body "I see"
    Added comment ID-1
    bob$ ds proposal open --branch topic --title "Add b" --description "closes #1"
    Proposal opened: ID-2
    bob$ ds issues tie 1 --commit 2
    Tied commit 2 to issue #1
    bob$ ds issues show 1 --json
    {
      "id": "ID-3",
      "repo": "default/default",
      "number": 1,
      "title": "First",
      "author": "bob@example.com",
      "state": "open",
      "labels": [],
      "created_at": "TIME",
      "updated_at": "TIME",
      "comments": [
        {
          "id": "ID-1",
          "issue_id": "ID-3",
          "repo": "default/default",
          "body": "I see",
          "author": "bob@example.com",
          "created_at": "TIME"
        }
      ],
      "refs": [
        {
          "id": "ID-4",
          "issue_id": "ID-3",
          "repo": "default/default",
          "ref_type": "proposal",
          "ref_id": "ID-2",
          "created_at": "TIME"
        },
        {
          "id": "ID-5",
          "issue_id": "ID-3",
          "repo": "default/default",
          "ref_type": "commit",
          "ref_id": "2",
          "created_at": "TIME"
        }
      ]
    }
    bob$ ds issues comment list 1
      [DATE] bob@example.com: I see
        id: ID-1
    bob$ ds issues comment list 1 --json
    [
      {
        "id": "ID-1",
        "issue_id": "ID-3",
        "repo": "default/default",
        "body": "I see",
        "author": "bob@example.com",
        "created_at": "TIME"
      }
    ]
    bob$ ds issues comment list 2
    error: issue #2 not found
    [exit 1]
    bob$ ds issues --commit 2
    NUMBER  TITLE                                     AUTHOR                          STATE     CREATED
    1       First                                     bob@example.com                 open      TIME
    bob$ ds issues --commit 1
    No issues for commit 1
    bob$ ds issues --commit 2 --state open
    error: the argument '--commit <SEQUENCE>' cannot be used with '--state <STATE>'

    Usage: ds issues --commit <SEQUENCE>

    For more information, try '--help'.
    [exit 2]
    bob$ ds checkout topic
    Synced branch 'topic' (1 downloaded, 0 removed)
    bob$ ds proposal show --json
    {
      "id": "ID-2",
      "repo": "default/default",
      "branch": "topic",
      "base_branch": "main",
      "title": "Add b",
      "description": "closes #1",
      "author": "bob@example.com",
      "state": "open",
      "created_at": "TIME",
      "updated_at": "TIME",
      "issues": [
        {
          "id": "ID-3",
          "repo": "default/default",
          "number": 1,
          "title": "First",
          "author": "bob@example.com",
          "state": "open",
          "labels": [],
          "created_at": "TIME",
          "updated_at": "TIME"
        }
      ]
    }
    bob$ ds context
    {
      "branch": {
        "repo": "default/default",
        "name": "topic",
        "head_sequence": 2,
        "base_sequence": 1,
        "status": "active",
        "draft": false,
        "auto_merge": false
      },
      "diff": {
        "branch_changes": [
          {
            "path": "b",
            "version_id": "ID-6"
          }
        ],
        "main_changes": []
      },
      "reviews": [],
      "check_runs": [],
      "proposals": [
        {
          "id": "ID-2",
          "repo": "default/default",
          "branch": "topic",
          "base_branch": "main",
          "title": "Add b",
          "description": "closes #1",
          "author": "bob@example.com",
          "state": "open",
          "created_at": "TIME",
          "updated_at": "TIME"
        }
      ],
      "linked_issues": [
        {
          "id": "ID-3",
          "repo": "default/default",
          "number": 1,
          "title": "First",
          "author": "bob@example.com",
          "state": "open",
          "labels": [],
          "created_at": "TIME",
          "updated_at": "TIME"
        }
      ],
      "file_ownership": {},
      "recent_commits": [
        {
          "sequence": 2,
          "branch": "topic",
          "author": "admin@example.com",
          "message": "change topic",
          "created_at": "TIME",
          "commit_hash": "ID-7",
          "files": [
            {
              "path": "b",
              "content_hash": "ID-8"
            }
          ]
        }
      ],
      "policies": [],
      "mergeable": true,
      "requirements": [
        {
          "kind": "role",
          "what": "merging takes the role maintainer; yours is writer",
          "who": [
            "role:maintainer"
          ],
          "command": "ds merge topic"
        }
      ]
    }
    bob$ ds context none
    error: server error: branch not found
    [exit 1]
    "#);
}
