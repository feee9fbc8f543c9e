//! The document that policies judge by, from rows.

use std::collections::BTreeMap;

use docstore_database::{Transaction, branch_changes::LatestChange, branches::BranchRow, proposals::open_proposal};
use docstore_models::{PrincipalKind, owner_of_agent, person_behind};
use docstore_policy::{
    CarriedReview, CompileError, Input, InputCheckRun, InputPrincipal, InputProposal, InputReview, NO_ROLE,
};

use crate::{
    Access, Operations, Result,
    gate::{Actor, GateAction},
    review_state::{ReviewState, review_state},
};

impl Operations {
    /// The document about a branch, or about what moves `main` directly, and the OWNERS files that it is without because
    /// they cannot be read.
    #[expect(clippy::too_many_arguments, reason = "what a document is made of")]
    pub(crate) async fn input(
        &self,
        transaction: &mut Transaction,
        access: &Access,
        actor: &Actor,
        main: &BranchRow,
        branch: &BranchRow,
        changes: &[LatestChange],
        paths: &[&str],
    ) -> Result<(Input, ReviewState, Vec<CompileError>)> {
        let direct = main.id == branch.id;
        let review =
            if direct { ReviewState::default() } else { review_state(transaction, main.id, branch, changes).await? };
        let proposal = if direct { None } else { open_proposal(&mut **transaction, branch.id).await? };
        let owners = self.owners(transaction, main.id, paths).await?;
        let mut input = Input {
            actor: actor.identity.clone(),
            actor_roles: actor.role.iter().map(|role| role.as_str().to_owned()).collect(),
            action: GateAction::Merge.as_str().to_owned(),
            repo: access.repo().to_owned(),
            branch: branch.name.clone(),
            draft: branch.draft,
            changed_paths: (!paths.is_empty()).then(|| paths.iter().map(|path| (*path).to_owned()).collect()),
            owners: owners.by_path,
            head_sequence: branch.head_sequence,
            base_sequence: if direct { branch.head_sequence } else { branch.base_sequence },
            proposal: proposal.map(|proposal| InputProposal {
                id: proposal.id.to_string(),
                base_branch: proposal.base_branch,
                title: proposal.title,
                state: proposal.state.as_str().to_owned(),
            }),
            actor_kind: actor.kind.as_str().to_owned(),
            actor_on_behalf_of: actor.on_behalf_of.clone(),
            ..Input::default()
        };
        if direct {
            // Whoever commits to main is who wrote it, as far as can be known before it is there.
            input.authors = vec![actor.identity.clone()];
            input.last_pusher = Some(actor.identity.clone());
        }
        describe(&mut input, &review);
        self.tell_roles(transaction, access.repo_id(), actor, &mut input).await?;
        Ok((input, review, owners.unreadable))
    }

    /// Writes into a document which role everybody in it has now: what somebody said may not count who has lost it since.
    async fn tell_roles(
        &self,
        transaction: &mut Transaction,
        repo_id: i64,
        actor: &Actor,
        input: &mut Input,
    ) -> Result<()> {
        let has_roles = |principal: &InputPrincipal| {
            [PrincipalKind::Person, PrincipalKind::Agent].iter().any(|kind| principal.kind == kind.as_str())
        };
        let others = input.principals.iter().filter(|(identity, of)| **identity != input.actor && has_roles(of));
        let mut people: Vec<&str> = others.map(|(identity, _)| person_behind(identity)).collect();
        people.sort_unstable();
        people.dedup();
        let roles =
            if people.is_empty() { BTreeMap::new() } else { self.roles_of(transaction, repo_id, &people).await? };
        for (identity, principal) in &mut input.principals {
            let role = match *identity == input.actor {
                true => actor.role.as_ref(),
                false if has_roles(principal) => roles.get(person_behind(identity)),
                false => None,
            };
            principal.role = Some(role.map_or(NO_ROLE, |role| role.as_str()).to_owned());
        }
        Ok(())
    }
}

/// Writes what was said about a branch into a document, and what everybody in it is.
fn describe(input: &mut Input, review: &ReviewState) {
    input.reviews = review
        .reviews
        .iter()
        .map(|review| InputReview {
            reviewer: review.reviewer.clone(),
            status: review.status.as_str().to_owned(),
            sequence: review.sequence,
        })
        .collect();
    input.carried_reviews = review
        .carried
        .iter()
        .map(|carried| CarriedReview {
            reviewer: carried.review.reviewer.clone(),
            status: carried.review.status.as_str().to_owned(),
            sequence: carried.review.sequence,
            identical: carried.identical,
            moved_paths: carried.moved_paths.clone(),
        })
        .collect();
    input.check_runs = review
        .checks
        .iter()
        .map(|check| InputCheckRun {
            check_name: check.check_name.clone(),
            status: check.state.status().as_str().to_owned(),
            sequence: check.sequence,
            state: check.state.as_str().to_owned(),
            reporter: check.reporter.clone(),
        })
        .collect();
    let people = &review.contributors;
    input.authors.extend(people.authors.iter().cloned());
    input.co_authors.extend(people.co_authors.iter().cloned());
    if people.last_pusher.is_some() {
        input.last_pusher.clone_from(&people.last_pusher);
    }
    let mut principals: BTreeMap<String, InputPrincipal> = BTreeMap::new();
    let named = input.authors.iter().chain(&input.co_authors).chain(&input.last_pusher).chain([&input.actor]);
    let named = named.chain(input.reviews.iter().map(|review| &review.reviewer));
    let named = named.chain(input.check_runs.iter().map(|run| &run.reporter));
    for identity in named.chain(input.carried_reviews.iter().map(|review| &review.reviewer)) {
        principals.entry(identity.clone()).or_insert_with(|| InputPrincipal {
            kind: PrincipalKind::of(identity).as_str().to_owned(),
            on_behalf_of: owner_of_agent(identity).map(str::to_owned),
            role: None,
        });
    }
    if let Some(actor) = principals.get_mut(&input.actor) {
        actor.kind.clone_from(&input.actor_kind);
        actor.on_behalf_of.clone_from(&input.actor_on_behalf_of);
    }
    input.principals = principals;
}
