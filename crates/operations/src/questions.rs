//! Questions to the database that nearly every request has, asked together: the right to a repo, and the right with a
//! file of `main`. Nobody gets an answer that is older than their question, since the statement begins after it.

use std::sync::Arc;

use docstore_auth::Caller;
use docstore_database::{
    Pool,
    access::{FactsAndFile, FactsQuestion, MainFileQuestion, RepoFacts, all_repo_facts, facts_and_main_files},
};
use futures::{FutureExt, future::BoxFuture};

use crate::{
    Error, Operations, Result,
    together::{BrokenOff, Service, Together},
};

/// The most questions of one statement. What it brings is in memory at once, a file as long as a row may be.
const QUESTIONS_TOGETHER_MAX: usize = 16;

type Answers<A> = docstore_database::Result<Vec<Option<A>>>;
type Answer<A> = Result<Option<A>, Arc<docstore_database::Error>>;

/// The questions that wait.
pub(crate) struct Questions {
    facts: Arc<Together<Facts>>,
    files: Arc<Together<MainFiles>>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { facts: Together::new(QUESTIONS_TOGETHER_MAX), files: Together::new(QUESTIONS_TOGETHER_MAX) }
    }
}

/// What somebody has in a repo.
#[derive(Clone)]
struct Facts(Pool);

impl Service for Facts {
    type Key = ();
    type Question = FactsQuestion;
    type Answer = Answer<RepoFacts>;

    async fn serve(&self, (): &(), questions: Vec<FactsQuestion>) -> Vec<Self::Answer> {
        each(&self.0, questions, |pool, some| all_repo_facts(pool, some).boxed()).await
    }
}

/// The same, and a file at the head of `main`.
#[derive(Clone)]
struct MainFiles(Pool);

impl Service for MainFiles {
    type Key = ();
    type Question = MainFileQuestion;
    type Answer = Answer<FactsAndFile>;

    async fn serve(&self, (): &(), questions: Vec<MainFileQuestion>) -> Vec<Self::Answer> {
        each(&self.0, questions, |pool, some| facts_and_main_files(pool, some).boxed()).await
    }
}

impl Operations {
    /// The facts about a live repo and whoever gives a caller its rights.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub(crate) async fn facts(&self, caller: &Caller, repo: &str) -> Result<Option<RepoFacts>> {
        let facts = Facts(self.pool().clone());
        told(self.questions().facts.ask(facts, (), facts_question(caller, repo)).await)
    }

    /// The same facts, and a file at the head of `main`, if it is there.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub(crate) async fn facts_and_main_file(
        &self,
        caller: &Caller,
        repo: &str,
        path: &str,
    ) -> Result<Option<FactsAndFile>> {
        let files = MainFiles(self.pool().clone());
        let question = MainFileQuestion { facts: facts_question(caller, repo), path: path.to_owned() };
        told(self.questions().files.ask(files, (), question).await)
    }
}

fn facts_question(caller: &Caller, repo: &str) -> FactsQuestion {
    FactsQuestion { repo: repo.to_owned(), identity: caller.rights_of().as_str().to_owned() }
}

fn told<A>(answer: Result<Answer<A>, BrokenOff>) -> Result<Option<A>> {
    answer.map_err(|broken_off| Error::Internal(Box::new(broken_off)))?.map_err(|error| Error::of_shared(&error))
}

/// Asks all questions at once, and one by one when that fails for another reason than that the database is away, so that a
/// question that cannot be answered spoils no other.
async fn each<Q, A>(
    pool: &Pool,
    questions: Vec<Q>,
    ask: for<'a> fn(&'a Pool, &'a [Q]) -> BoxFuture<'a, Answers<A>>,
) -> Vec<Answer<A>> {
    match ask(pool, &questions).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) if questions.len() == 1 || error.is_transient() => {
            let error = Arc::new(error);
            questions.iter().map(|_| Err(Arc::clone(&error))).collect()
        }
        Err(_) => {
            let mut answers = Vec::with_capacity(questions.len());
            for question in &questions {
                let answer = ask(pool, std::slice::from_ref(question)).await;
                answers.push(answer.map(|mut one| one.pop().flatten()).map_err(Arc::new));
            }
            answers
        }
    }
}
