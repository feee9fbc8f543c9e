//! The door: what is let in as a policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use regorus::{
    Engine,
    languages::rego::compiler::Compiler,
    rvm::program::Program,
    unstable::{AssignOp, BUILTINS, Expr, Import, Literal, Module, Query, Ref, Rule, RuleAssign, RuleHead, Span},
};
use serde::{Deserialize, Serialize};

use crate::{SHADOW_DIRECTORY, guard};

/// How long a policy may be. The longest that people write by hand have a few hundred lines.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// How many rules a policy may have: more than the longest that people write.
const RULES_MAX: usize = 1_000;

/// The rules that a decision is made of; `allow` must be there.
pub(crate) const ENTRY_RULES: [&str; 5] = ["allow", "reason", "requirements", "allow_override", "shadow"];

const LIBRARY_FILE: &str = "docstore/lib.rego";
const LIBRARY: &str = include_str!("lib.rego");
const LIBRARY_PACKAGE: &str = "data.docstore.lib";

/// Built-ins whose answer depends on more than the document; names that end in `.` are prefixes.
const REFUSED: [(&str, &str); 8] = [
    ("http.", "a policy cannot reach the network"),
    ("net.lookup_ip_addr", "a policy cannot reach the network"),
    ("opa.", "a policy cannot read the environment"),
    ("rand.", "a policy cannot draw lots"),
    ("uuid.rfc4122", "a policy cannot draw lots"),
    ("rego.", "a policy cannot load other policies"),
    ("test.", "it is not for policies"),
    ("__builtin_host_await", "it is not for policies"),
];

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CompileError {
    /// The file.
    pub file: String,
    /// The line, from 1, if the error has one.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// A policy, ready to decide. Cheap to share between threads.
#[derive(Clone)]
pub struct Policy {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) package: String,
    pub(crate) shadow: bool,
    pub(crate) rules: Vec<&'static str>,
    pub(crate) program: Arc<Program>,
    pub(crate) compiled: regorus::CompiledPolicy,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Policy {
    /// Compiles one file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(file: &str, source: &str) -> Result<Self, CompileError> {
        let at = |line: Option<u32>, message: String| CompileError { file: file.to_owned(), line, message };
        if source.len() > POLICY_BYTES_MAX {
            return Err(at(None, format!("a policy may have at most {POLICY_BYTES_MAX} bytes")));
        }
        let engine_error = |error: String| told_by_engine(file, &error);
        let mut engine = Engine::new();
        let package =
            engine.add_policy(file.to_owned(), source.to_owned()).map_err(|error| engine_error(error.to_string()))?;
        let module = engine.get_modules().first().cloned().ok_or_else(|| at(None, "it is empty".to_owned()))?;
        let name = package_name(&package).ok_or_else(|| {
            at(
                Some(module.package.span.line),
                format!(
                    "the package must be `docstore.<name>`, not `{}`",
                    package.strip_prefix("data.").unwrap_or(&package)
                ),
            )
        })?;
        let Checked { defined, uses_library, library_names } =
            check_module(&module, &package).map_err(|(line, message)| at(Some(line), message))?;
        if !defined.contains("allow") {
            return Err(at(None, "a policy needs a rule `allow`".to_owned()));
        }
        if uses_library {
            // The engine follows an import to a function, but not to a value: so the library's names are spelled out.
            let mut spelled_out = source.to_owned();
            for (start, end) in library_names.iter().rev() {
                spelled_out.replace_range(*start as usize..*end as usize, LIBRARY_PACKAGE);
            }
            engine = Engine::new();
            for (path, text) in [(file, spelled_out.as_str()), (LIBRARY_FILE, LIBRARY)] {
                engine.add_policy(path.to_owned(), text.to_owned()).map_err(|error| engine_error(error.to_string()))?;
            }
        }
        let rules: Vec<&'static str> = ENTRY_RULES.into_iter().filter(|rule| defined.contains(*rule)).collect();
        let paths: Vec<String> = rules.iter().map(|rule| format!("{package}.{rule}")).collect();
        let entry_points: Vec<&str> = paths.iter().map(String::as_str).collect();
        let compiled = engine
            .compile_with_entrypoint(&format!("{package}.allow").into())
            .map_err(|error| engine_error(error.to_string()))?;
        // A policy's own function goes before a built-in of the same name.
        let guarded: Vec<(&str, usize)> = guard::guarded().filter(|(name, _)| !defined.contains(*name)).collect();
        let program = Compiler::compile_from_policy_with_host_await(&compiled, &entry_points, &guarded)
            .map_err(|error| engine_error(error.to_string()))?;
        Ok(Self {
            name,
            file: file.to_owned(),
            shadow: file.starts_with(SHADOW_DIRECTORY),
            package,
            rules,
            program,
            compiled,
        })
    }

    /// The last segment of the package: the name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its place says that it is only tried out.
    #[must_use]
    pub fn is_in_shadow(&self) -> bool {
        self.shadow
    }

    /// The file that it was compiled from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// The name of a package `data.docstore.<name>`.
fn package_name(package: &str) -> Option<String> {
    let segments: Vec<&str> = package.strip_prefix("data.docstore.")?.split('.').collect();
    let plain = |segment: &&str| {
        segment.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && segment.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    if !segments.iter().all(plain) || package == LIBRARY_PACKAGE || package.starts_with("data.docstore.lib.") {
        return None;
    }
    segments.last().map(|&last| last.to_owned())
}

type Refusal = (u32, String);

/// What the look at a module found.
struct Checked {
    /// The names of its rules.
    defined: BTreeSet<String>,
    uses_library: bool,
    /// Where it names the library by its import: byte ranges, in order.
    library_names: Vec<(u32, u32)>,
}

/// Looks at everything that a module says.
fn check_module(module: &Module, package: &str) -> Result<Checked, Refusal> {
    let mut library = None;
    for import in &module.imports {
        library = check_import(import)?.or(library);
    }
    if module.policy.len() > RULES_MAX {
        return Err((module.package.span.line, format!("a policy may have at most {RULES_MAX} rules")));
    }
    let names: Vec<String> = module
        .policy
        .iter()
        .map(|rule| path_of(head_of(rule)).first().copied().unwrap_or_default().to_owned())
        .collect();
    let mut walk = Walk {
        package,
        library,
        defined: names.iter().cloned().collect(),
        uses_library: library.is_some(),
        library_names: Vec::new(),
        names: BTreeSet::new(),
        locals: BTreeSet::new(),
    };
    let mut mentions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, rule) in names.iter().zip(&module.policy) {
        if library.is_some_and(|library| library == name) {
            return Err((rule.span().line, format!("`{name}` is the library that is imported; choose another name")));
        }
        walk.rule(rule)?;
        let locals = std::mem::take(&mut walk.locals);
        let named = std::mem::take(&mut walk.names).into_iter();
        mentions
            .entry(name)
            .or_default()
            .extend(named.filter(|name| walk.defined.contains(name) && !locals.contains(name)));
    }
    if let Some(circle) = find_circle(&mentions) {
        let line = module.policy.iter().zip(&names).find(|(_, name)| circle.first() == Some(name));
        let line = line.map_or(module.package.span.line, |(rule, _)| rule.span().line);
        return Err((line, format!("rules must not depend on themselves: {}", circle.join(" -> "))));
    }
    walk.library_names.sort_unstable();
    walk.library_names.dedup();
    Ok(Checked { defined: walk.defined, uses_library: walk.uses_library, library_names: walk.library_names })
}

/// Only the language itself, the document and the library may be imported. Tells the name that the library has then.
fn check_import(import: &Import) -> Result<Option<&str>, Refusal> {
    let path = path_of(&import.refr);
    match path.first().copied() {
        Some("rego" | "future" | "input") => Ok(None),
        Some("data") if path == ["data", "docstore", "lib"] => {
            Ok(Some(import.r#as.as_ref().map_or("lib", |name| name.text())))
        }
        _ => Err((
            import.span.line,
            format!(
                "`{}` cannot be imported: each policy stands alone; there are `rego.v1`, `input` and `data.docstore.lib`",
                path.join(".")
            ),
        )),
    }
}

/// Rules that depend on each other in a circle. The engine stops those when they run; here they are told by name.
fn find_circle(mentions: &BTreeMap<&str, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for &start in mentions.keys() {
        // The path to where we are, with what is left to look at from each step.
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut next = Some(start);
        loop {
            match next {
                Some(name) => {
                    if let Some(begin) = path.iter().position(|(step, _)| *step == name) {
                        let mut circle: Vec<String> =
                            path.iter().skip(begin).map(|(step, _)| (*step).to_owned()).collect();
                        circle.push(name.to_owned());
                        return Some(circle);
                    }
                    if !done.contains(name)
                        && let Some((&name, below)) = mentions.get_key_value(name)
                    {
                        path.push((name, below.iter().map(String::as_str).collect()));
                    }
                }
                None => match path.pop() {
                    Some((name, _)) => {
                        done.insert(name);
                    }
                    None => break,
                },
            }
            next = path.last_mut().and_then(|(_, left)| left.pop());
        }
    }
    None
}

fn head_of(rule: &Rule) -> &Expr {
    match rule {
        Rule::Spec {
            head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. },
            ..
        }
        | Rule::Default { refr, .. } => refr,
    }
}

/// The names of a chain such as `a.b["c"]`, as far as they are written out.
fn path_of(expression: &Expr) -> Vec<&str> {
    let mut names = Vec::new();
    let mut here = expression;
    loop {
        match here {
            Expr::Var { span, .. } => {
                names.push(span.text());
                break;
            }
            Expr::RefDot { refr, field, .. } => {
                names.push(field.0.text());
                here = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                if let Expr::String { span, .. } = index.as_ref() {
                    names.push(span.text().trim_matches('"'));
                }
                here = refr;
            }
            _ => break,
        }
    }
    names.reverse();
    names
}

struct Walk<'a> {
    package: &'a str,
    /// The name by which the library was imported.
    library: Option<&'a str>,
    defined: BTreeSet<String>,
    uses_library: bool,
    library_names: Vec<(u32, u32)>,
    /// The names that the rule at hand mentions, and those that are variables of its own.
    names: BTreeSet<String>,
    locals: BTreeSet<String>,
}

impl Walk<'_> {
    fn rule(&mut self, rule: &Rule) -> Result<(), Refusal> {
        match rule {
            Rule::Spec { head, bodies, .. } => {
                match head {
                    RuleHead::Compr { refr, assign, .. } => {
                        self.indices(refr)?;
                        self.assignment(assign.as_ref())?;
                    }
                    RuleHead::Set { refr, key, .. } => {
                        self.indices(refr)?;
                        self.expressions(key)?;
                    }
                    RuleHead::Func { refr, args, assign, .. } => {
                        self.indices(refr)?;
                        self.declare(args);
                        self.expressions(args)?;
                        self.assignment(assign.as_ref())?;
                    }
                }
                for body in bodies {
                    self.assignment(body.assign.as_ref())?;
                    self.query(&body.query)?;
                }
                Ok(())
            }
            Rule::Default { args, value, .. } => {
                self.expressions(args)?;
                self.expression(value)
            }
        }
    }

    /// What a head such as `by_name[x].y` is indexed with; its own name is no mention.
    fn indices(&mut self, head: &Expr) -> Result<(), Refusal> {
        match head {
            Expr::RefBrack { refr, index, .. } => {
                self.expression(index)?;
                self.indices(refr)
            }
            Expr::RefDot { refr, .. } => self.indices(refr),
            _ => Ok(()),
        }
    }

    /// Notes the variables of patterns as the rule's own.
    fn declare<'e>(&mut self, patterns: impl IntoIterator<Item = &'e Ref<Expr>>) {
        for pattern in patterns {
            match pattern.as_ref() {
                Expr::Var { span, .. } => {
                    self.locals.insert(span.text().to_owned());
                }
                Expr::Array { items, .. } => self.declare(items),
                Expr::Object { fields, .. } => fields.iter().for_each(|(_, _, value)| self.declare([value])),
                _ => {}
            }
        }
    }

    fn assignment(&mut self, assignment: Option<&RuleAssign>) -> Result<(), Refusal> {
        self.expressions(assignment.map(|assignment| &assignment.value))
    }

    fn query(&mut self, query: &Query) -> Result<(), Refusal> {
        for statement in &query.stmts {
            for with in &statement.with_mods {
                self.expression(&with.refr)?;
                self.expression(&with.r#as)?;
            }
            match &statement.literal {
                Literal::SomeVars { vars, .. } => self.locals.extend(vars.iter().map(|span| span.text().to_owned())),
                Literal::SomeIn { key, value, collection, .. } => {
                    self.declare(key);
                    self.declare([value]);
                    self.expressions(key)?;
                    self.expression(value)?;
                    self.expression(collection)?;
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expression(expr)?,
                Literal::Every { key, value, domain, query, .. } => {
                    self.locals.extend(key.iter().chain([value]).map(|span| span.text().to_owned()));
                    self.expression(domain)?;
                    self.query(query)?;
                }
            }
        }
        Ok(())
    }

    fn expressions<'a>(&mut self, expressions: impl IntoIterator<Item = &'a Ref<Expr>>) -> Result<(), Refusal> {
        expressions.into_iter().try_for_each(|expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &Expr) -> Result<(), Refusal> {
        match expression {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => Ok(()),
            Expr::Var { span, .. } => {
                if self.library == Some(span.text()) {
                    self.library_names.push((span.start, span.end));
                }
                self.names.insert(span.text().to_owned());
                Ok(())
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.expressions(items),
            Expr::Object { fields, .. } => fields.iter().try_for_each(|(_, key, value)| {
                self.expression(key)?;
                self.expression(value)
            }),
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expression(term)?;
                self.query(query)
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.expression(key)?;
                self.expression(value)?;
                self.query(query)
            }
            Expr::Call { span, fcn, params, .. } => {
                self.call(span, fcn)?;
                self.expression(fcn)?;
                self.expressions(params)
            }
            Expr::UnaryExpr { expr, .. } => self.expression(expr),
            Expr::RefDot { refr, .. } => {
                self.reference(expression);
                self.expression(refr)
            }
            Expr::RefBrack { refr, index, .. } => {
                self.reference(expression);
                self.expression(refr)?;
                self.expression(index)
            }
            Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                self.expression(lhs)?;
                self.expression(rhs)
            }
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                if matches!(op, AssignOp::ColEq) {
                    self.declare([lhs]);
                }
                self.expression(lhs)?;
                self.expression(rhs)
            }
            Expr::Membership { key, value, collection, .. } => {
                self.expressions(key)?;
                self.expression(value)?;
                self.expression(collection)
            }
        }
    }

    /// `data.docstore.lib.…` without an import, and the policy's own rules by their full name.
    fn reference(&mut self, expression: &Expr) {
        let path = path_of(expression);
        self.uses_library |= path.starts_with(&["data", "docstore", "lib"]);
        let own: Vec<&str> = self.package.split('.').collect();
        if let Some(name) = path.strip_prefix(own.as_slice()).and_then(<[&str]>::first) {
            self.names.insert((*name).to_owned());
        }
    }

    fn call(&mut self, span: &Span, function: &Expr) -> Result<(), Refusal> {
        let path = path_of(function);
        let name = path.join(".");
        for (refused, why) in REFUSED {
            let hit = if refused.ends_with('.') { name.starts_with(refused) } else { name == refused };
            if hit {
                return Err((span.line, format!("`{name}` is not available: {why}")));
            }
        }
        let known = path.first().is_none_or(|&first| {
            first == "data" || first == "print" || self.library == Some(first) || self.defined.contains(first)
        });
        if known || BUILTINS.contains_key(name.as_str()) {
            Ok(())
        } else {
            Err((span.line, format!("there is no function `{name}`")))
        }
    }
}

/// The engine's messages quote the line below `--> file:line:column` and end in `error: what`.
fn told_by_engine(file: &str, text: &str) -> CompileError {
    let line = text.split("--> ").nth(1).and_then(|rest| {
        let place = rest.lines().next()?;
        place.strip_prefix(file)?.strip_prefix(':')?.split(':').next()?.parse().ok()
    });
    let message = text.rsplit_once("error: ").map_or(text, |(_, message)| message);
    let message = message.replace(" yet supported in the RVM compiler", " supported");
    let message =
        message.replace(" yet supported by the RVM compiler", " supported").replace(" by the compiler yet", "");
    CompileError { file: file.to_owned(), line, message: message.trim().to_owned() }
}
