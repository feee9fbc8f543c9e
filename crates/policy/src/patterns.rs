//! Regular expressions that a policy writes out.
//!
//! The engine refuses to match one that is too large once it is compiled, or is none, when it gets there: each decision would
//! fail, or come out undefined. So they are looked at where a policy comes in, with their line. What is followed is how texts
//! get to where a pattern is wanted: by names, collections, and arguments of functions. One that is put together when the
//! policy runs is known then only.

use std::collections::{BTreeMap, BTreeSet};

use regex::RegexBuilder;
use regorus::unstable::{Expr, Ref, Rule, RuleHead};

use crate::check::Refusal;

/// How large a regular expression may be once it is compiled, in bytes; the engine takes no larger ones.
const PATTERN_BYTES_MAX: usize = 100 * 1024;

/// The built-ins that take a pattern, and which argument it is.
const WANT_PATTERN: [(&str, usize); 6] = [
    ("regex.find_all_string_submatch_n", 0),
    ("regex.find_n", 0),
    ("regex.is_valid", 0),
    ("regex.match", 0),
    ("regex.replace", 1),
    ("regex.split", 0),
];

/// A rule by its place in the module: variables are of one rule.
type Place = usize;

/// The arguments of a call, and where it is.
type Call<'a> = (Place, &'a [Ref<Expr>]);

/// Where texts come from and where patterns are wanted.
#[derive(Default)]
pub(crate) struct Patterns<'a> {
    rules: usize,
    /// What is wanted as a pattern, and whether it must be one.
    wanted: Vec<(Place, &'a Expr, bool)>,
    /// What a variable of a rule can be.
    variables: BTreeMap<(Place, &'a str), Vec<&'a Expr>>,
    /// What the value of a rule can be.
    values: BTreeMap<String, Vec<(Place, &'a Expr)>>,
    /// Which argument of which function a variable is.
    parameters: BTreeMap<(Place, &'a str), (String, usize)>,
    /// With what a function is called.
    calls: BTreeMap<String, Vec<Call<'a>>>,
}

impl<'a> Patterns<'a> {
    fn place(&self) -> Place {
        self.rules
    }

    /// Goes on with a rule.
    pub(crate) fn begin_rule(&mut self, name: &str, rule: &'a Rule) {
        self.rules += 1;
        let place = self.place();
        let mut values: Vec<&'a Expr> = Vec::new();
        match rule {
            Rule::Spec { head, bodies, .. } => {
                match head {
                    RuleHead::Compr { assign, .. } => values.extend(assign.iter().map(|assign| assign.value.as_ref())),
                    RuleHead::Set { key, .. } => values.extend(key.iter().map(AsRef::as_ref)),
                    RuleHead::Func { args, assign, .. } => {
                        values.extend(assign.iter().map(|assign| assign.value.as_ref()));
                        for (number, argument) in args.iter().enumerate() {
                            if let Expr::Var { span, .. } = argument.as_ref() {
                                self.parameters.insert((place, span.text()), (name.to_owned(), number));
                            }
                        }
                    }
                }
                values.extend(bodies.iter().filter_map(|body| Some(body.assign.as_ref()?.value.as_ref())));
            }
            Rule::Default { value, .. } => values.push(value),
        }
        self.values.entry(name.to_owned()).or_default().extend(values.into_iter().map(|value| (place, value)));
    }

    /// A variable gets a value, or one of a collection.
    pub(crate) fn bind(&mut self, variable: &'a Expr, value: &'a Expr) {
        if let Expr::Var { span, .. } = variable {
            self.bind_name(span.text(), value);
        }
    }

    /// The same by name.
    pub(crate) fn bind_name(&mut self, variable: &'a str, value: &'a Expr) {
        self.variables.entry((self.place(), variable)).or_default().push(value);
    }

    /// A function of the policy is called.
    pub(crate) fn call(&mut self, name: &str, arguments: &'a [Ref<Expr>]) {
        let place = self.place();
        self.calls.entry(name.to_owned()).or_default().push((place, arguments));
    }

    /// A built-in is called.
    pub(crate) fn built_in(&mut self, name: &str, arguments: &'a [Ref<Expr>]) {
        let wants = WANT_PATTERN.iter().find(|(built_in, _)| *built_in == name);
        if let Some(pattern) = wants.and_then(|&(_, number)| arguments.get(number)) {
            self.wanted.push((self.place(), pattern, name != "regex.is_valid"));
        }
    }

    /// Refuses when a text that gets to where a pattern is wanted cannot be used as one.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        for must_be_valid in [true, false] {
            let mut open: Vec<(Place, &Expr)> = self
                .wanted
                .iter()
                .filter(|wanted| wanted.2 == must_be_valid)
                .map(|wanted| (wanted.0, wanted.1))
                .collect();
            let mut names_seen: BTreeSet<(Option<Place>, &str)> = BTreeSet::new();
            let mut texts_seen: BTreeSet<&str> = BTreeSet::new();
            while let Some((place, expression)) = open.pop() {
                match expression {
                    Expr::String { span, value, .. } | Expr::RawString { span, value, .. } => {
                        if texts_seen.insert(span.text())
                            && let Ok(text) = value.as_string()
                            && let Some(wrong) = wrong_with(text, must_be_valid)
                        {
                            return Err((span.line, wrong));
                        }
                    }
                    Expr::Array { items, .. } | Expr::Set { items, .. } => {
                        open.extend(items.iter().map(|item| (place, item.as_ref())));
                    }
                    Expr::Object { fields, .. } => {
                        open.extend(fields.iter().map(|(_, _, value)| (place, value.as_ref())));
                    }
                    Expr::ArrayCompr { term, .. } | Expr::SetCompr { term, .. } => open.push((place, term)),
                    Expr::ObjectCompr { value, .. } => open.push((place, value)),
                    Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => open.push((place, refr)),
                    Expr::Var { span, .. } => {
                        let name = span.text();
                        if names_seen.insert((Some(place), name)) {
                            let bound = self.variables.get(&(place, name)).into_iter().flatten();
                            open.extend(bound.map(|value| (place, *value)));
                            if let Some((function, number)) = self.parameters.get(&(place, name)) {
                                let calls = self.calls.get(function).into_iter().flatten();
                                open.extend(calls.filter_map(|(caller, arguments)| {
                                    Some((*caller, arguments.get(*number)?.as_ref()))
                                }));
                            }
                        }
                        if names_seen.insert((None, name)) {
                            open.extend(self.values.get(name).into_iter().flatten().copied());
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Why a text cannot be used as a regular expression.
fn wrong_with(text: &str, must_be_valid: bool) -> Option<String> {
    match RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build() {
        Err(regex::Error::CompiledTooBig(_)) => Some(format!(
            "the regular expression is too large: compiled it may take at most {} KiB; `[0-9A-Za-z_]` takes less than `\\w`",
            PATTERN_BYTES_MAX / 1024
        )),
        Err(error) if must_be_valid => {
            // The last line; those before quote the text.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Some(format!("it is no regular expression: {why}"))
        }
        _ => None,
    }
}
