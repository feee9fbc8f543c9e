//! `ds org members` and `ds org invites`.

use clap::Subcommand;
use docstore_client::Client;
use docstore_models::OrgRole;
use uuid::Uuid;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, printable},
    remote::instead_of_status,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum MemberAction {
    /// List the members of an org.
    List {
        /// The org.
        org: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Add somebody to an org, or change their role in it.
    Add {
        /// The org.
        org: String,
        /// Who, usually an e-mail address.
        identity: String,
        /// owner or member.
        #[arg(long)]
        role: String,
    },
    /// Remove somebody from an org.
    Remove {
        /// The org.
        org: String,
        /// Who.
        identity: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteAction {
    /// Invite somebody into an org. Prints the token, this one time.
    Create {
        /// The org.
        org: String,
        /// The e-mail address that they sign in with.
        #[arg(long)]
        email: String,
        /// owner or member.
        #[arg(long)]
        role: String,
    },
    /// List the invitations that nobody has accepted yet.
    List {
        /// The org.
        org: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Accept an invitation.
    Accept {
        /// The org.
        org: String,
        /// The token that you were given.
        token: String,
    },
    /// Take an invitation back.
    Revoke {
        /// The org.
        org: String,
        /// The id, as the list shows it.
        id: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

pub(crate) async fn members(session: &mut Session<'_>, client: &Client, action: MemberAction) -> Result<(), Failure> {
    match action {
        MemberAction::List { org, json } => {
            let members = client.org_members(&org).await.map_err(|error| no_org(error, &org))?;
            if json.json {
                return session.print_json(&members);
            }
            let mut table = Table::new("  ", &[("IDENTITY", 30), ("ROLE", 0)]);
            for member in &members {
                table.row(&[member.identity.as_str(), member.role.as_str()]);
            }
            session.print_table(&table);
        }
        MemberAction::Add { org, identity, role } => {
            let role = parse(&role)?;
            client.set_org_member(&org, &identity, role).await.map_err(|error| no_org(error, &org))?;
            session.say(format!("Added '{identity}' to org '{org}' as '{}'", role.as_str()));
        }
        MemberAction::Remove { org, identity, yes } => {
            session.confirm(&format!("Remove '{identity}' from org '{org}'?"), yes.yes)?;
            client.delete_org_member(&org, &identity).await?;
            session.say(format!("Removed '{identity}' from org '{org}'"));
        }
    }
    Ok(())
}

pub(crate) async fn invites(session: &mut Session<'_>, client: &Client, action: InviteAction) -> Result<(), Failure> {
    match action {
        InviteAction::Create { org, email, role } => {
            let role = parse(&role)?;
            let invite = client.create_invite(&org, &email, role).await.map_err(|error| no_org(error, &org))?;
            // Data, whatever -q says: it is told nowhere else.
            session.print(format!("Invite created: id={} token={}", invite.id, printable(&invite.token)));
        }
        InviteAction::List { org, json } => {
            let invites = client.invites(&org).await.map_err(|error| no_org(error, &org))?;
            if json.json {
                return session.print_json(&invites);
            }
            let mut table = Table::new("  ", &[("ID", 36), ("EMAIL", 30), ("ROLE", 0)]);
            for invite in &invites {
                table.row(&[&invite.id.to_string(), &invite.email, invite.role.as_str()]);
            }
            session.print_table(&table);
        }
        InviteAction::Accept { org, token } => {
            client.accept_invite(&org, &token).await?;
            session.say(format!("Accepted invite for org '{org}'"));
        }
        InviteAction::Revoke { org, id, yes } => {
            let parsed = Uuid::try_parse(&id)
                .map_err(|_| Failure::usage(format!("'{}' is no id of an invite", printable(&id))))?;
            session.confirm(&format!("Take back invite '{id}' of org '{org}'?"), yes.yes)?;
            client.delete_invite(&org, parsed).await?;
            session.say(format!("Revoked invite '{id}' from org '{org}'"));
        }
    }
    Ok(())
}

fn parse(role: &str) -> Result<OrgRole, Failure> {
    role.parse().map_err(|_| Failure::usage("role must be 'owner' or 'member'"))
}

fn no_org(error: docstore_client::Error, org: &str) -> Failure {
    instead_of_status(error, 404, || format!("org '{}' not found", printable(org)))
}
