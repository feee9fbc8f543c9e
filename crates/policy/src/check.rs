//! What a policy may say: a walk over everything in it.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{
    AssignOp, BUILTINS, Expr, Import, Literal, Module, Query, Ref, Rule, RuleAssign, RuleHead, Span,
};

use crate::{guard, library, patterns::Patterns};

/// How many rules a policy may have: more than the longest that people write.
const RULES_MAX: usize = 1_000;

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

/// The line, and what is wrong.
pub(crate) type Refusal = (u32, String);

/// What the look at a module found.
pub(crate) struct Checked {
    /// The names of its rules.
    pub(crate) defined: BTreeSet<String>,
    pub(crate) uses_library: bool,
    /// Whether it asks for the time.
    pub(crate) reads_time: bool,
    /// Where it names the library by its import: byte ranges, in order.
    pub(crate) library_names: Vec<(u32, u32)>,
}

/// Looks at everything that a module says.
pub(crate) fn check_module(module: &Module, package: &str) -> Result<Checked, Refusal> {
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
        arguments: arguments_of(module),
        uses_library: library.is_some(),
        reads_time: false,
        library_names: Vec::new(),
        names: BTreeSet::new(),
        locals: BTreeSet::new(),
        patterns: Patterns::default(),
    };
    let mut mentions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, rule) in names.iter().zip(&module.policy) {
        if library.is_some_and(|library| library == name) {
            return Err((rule.span().line, format!("`{name}` is the library that is imported; choose another name")));
        }
        walk.patterns.begin_rule(name, rule);
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
    walk.patterns.check()?;
    walk.library_names.sort_unstable();
    walk.library_names.dedup();
    Ok(Checked {
        defined: walk.defined,
        uses_library: walk.uses_library,
        reads_time: walk.reads_time,
        library_names: walk.library_names,
    })
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

/// How many arguments the functions of a module take, by name; whatever is none takes none.
pub(crate) fn arguments_of(module: &Module) -> BTreeMap<String, BTreeSet<usize>> {
    let mut all: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for rule in &module.policy {
        let number = match rule.as_ref() {
            Rule::Spec { head: RuleHead::Func { args, .. }, .. } | Rule::Default { args, .. } => args.len(),
            Rule::Spec { .. } => 0,
        };
        if let Some(&name) = path_of(head_of(rule)).first() {
            all.entry(name.to_owned()).or_default().insert(number);
        }
    }
    all
}

pub(crate) fn head_of(rule: &Rule) -> &Expr {
    match rule {
        Rule::Spec {
            head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. },
            ..
        }
        | Rule::Default { refr, .. } => refr,
    }
}

/// The names of a chain such as `a.b["c"]`, as far as they are written out.
pub(crate) fn path_of(expression: &Expr) -> Vec<&str> {
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
    /// How many arguments its functions take.
    arguments: BTreeMap<String, BTreeSet<usize>>,
    uses_library: bool,
    reads_time: bool,
    library_names: Vec<(u32, u32)>,
    /// Which texts are regular expressions.
    patterns: Patterns<'a>,
    /// The names that the rule at hand mentions, and those that are variables of its own.
    names: BTreeSet<String>,
    locals: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn rule(&mut self, rule: &'a Rule) -> Result<(), Refusal> {
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
    fn indices(&mut self, head: &'a Expr) -> Result<(), Refusal> {
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

    fn assignment(&mut self, assignment: Option<&'a RuleAssign>) -> Result<(), Refusal> {
        self.expressions(assignment.map(|assignment| &assignment.value))
    }

    fn query(&mut self, query: &'a Query) -> Result<(), Refusal> {
        for statement in &query.stmts {
            for with in &statement.with_mods {
                self.expression(&with.refr)?;
                self.expression(&with.r#as)?;
            }
            match &statement.literal {
                Literal::SomeVars { vars, .. } => self.locals.extend(vars.iter().map(|span| span.text().to_owned())),
                Literal::SomeIn { key, value, collection, .. } => {
                    self.patterns.bind(value, collection);
                    self.declare(key);
                    self.declare([value]);
                    self.expressions(key)?;
                    self.expression(value)?;
                    self.expression(collection)?;
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expression(expr)?,
                Literal::Every { key, value, domain, query, .. } => {
                    self.patterns.bind_name(value.text(), domain);
                    self.locals.extend(key.iter().chain([value]).map(|span| span.text().to_owned()));
                    self.expression(domain)?;
                    self.query(query)?;
                }
            }
        }
        Ok(())
    }

    fn expressions(&mut self, expressions: impl IntoIterator<Item = &'a Ref<Expr>>) -> Result<(), Refusal> {
        expressions.into_iter().try_for_each(|expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &'a Expr) -> Result<(), Refusal> {
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
                self.call(span, fcn, params)?;
                self.expression(fcn)?;
                self.expressions(params)
            }
            Expr::UnaryExpr { expr, .. } => self.expression(expr),
            Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.reference(expression)?;
                self.links(expression)
            }
            Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                self.expression(lhs)?;
                self.expression(rhs)
            }
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                if matches!(op, AssignOp::ColEq) {
                    self.declare([lhs]);
                    self.patterns.bind(lhs, rhs);
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

    /// The links of a chain such as `a.b[c]`, whose names are one.
    fn links(&mut self, chain: &'a Expr) -> Result<(), Refusal> {
        let mut here = chain;
        loop {
            match here {
                Expr::RefDot { refr, .. } => here = refr,
                Expr::RefBrack { refr, index, .. } => {
                    self.expression(index)?;
                    here = refr;
                }
                first => return self.expression(first),
            }
        }
    }

    /// Names of the library, with an import and without, and the policy's own rules by their full name. Anything else below
    /// `data` is not there.
    fn reference(&mut self, expression: &Expr) -> Result<(), Refusal> {
        let path = path_of(expression);
        let line = expression.span().line;
        if let Some(name) = self.library_rule(&path) {
            self.uses_library = true;
            if !library::rules().contains_key(name) {
                return Err((line, format!("the library has no rule `{name}`")));
            }
            return Ok(());
        }
        let own: Vec<&str> = self.package.split('.').collect();
        if let Some(name) = path.strip_prefix(own.as_slice()).and_then(<[&str]>::first) {
            if !self.defined.contains(*name) {
                return Err((line, format!("there is no rule `{name}`")));
            }
            self.names.insert((*name).to_owned());
        } else if path.first() == Some(&"data") {
            return Err((
                line,
                format!("there is no `{}`: each policy stands alone, with `input` and the library", path.join(".")),
            ));
        }
        Ok(())
    }

    /// The rule of the library that a path names.
    fn library_rule<'p>(&self, path: &[&'p str]) -> Option<&'p str> {
        match path {
            ["data", "docstore", "lib", name, ..] => Some(name),
            [library, name, ..] if self.library == Some(library) => Some(name),
            _ => None,
        }
    }

    fn call(&mut self, span: &Span, function: &Expr, arguments: &'a [Ref<Expr>]) -> Result<(), Refusal> {
        let path = path_of(function);
        let name = path.join(".");
        for (refused, why) in REFUSED {
            let hit = if refused.ends_with('.') { name.starts_with(refused) } else { name == refused };
            if hit {
                return Err((span.line, format!("`{name}` is not available: {why}")));
            }
        }
        let in_package = name.strip_prefix(self.package).and_then(|name| name.strip_prefix('.')).unwrap_or(&name);
        let (own, built_in) = (self.arguments.get(in_package), BUILTINS.get(name.as_str()));
        let of_library = self.library_rule(&path).and_then(|name| library::rules().get(name));
        match (own.or(of_library), built_in) {
            (Some(numbers), _) => {
                self.patterns.call(in_package, arguments);
                check_arguments(span, &name, arguments, numbers.iter().copied())
            }
            (None, Some((_, number))) => {
                self.reads_time |= name == guard::CLOCK;
                self.patterns.built_in(&name, arguments);
                check_arguments(span, &name, arguments, [usize::from(*number)])
            }
            // The engine has a word for those.
            (None, None) if path.first().is_none_or(|&first| first == "print" || self.defined.contains(first)) => {
                Ok(())
            }
            (None, None) => Err((span.line, format!("there is no function `{name}`"))),
        }
    }
}

/// Refuses a call with another number of arguments than the function takes: the engine would never say yes to it. One more
/// may name a variable for the result.
fn check_arguments(
    span: &Span,
    name: &str,
    arguments: &[Ref<Expr>],
    numbers: impl IntoIterator<Item = usize>,
) -> Result<(), Refusal> {
    let mut expected = Vec::new();
    for number in numbers {
        if arguments.len() == number || arguments.len() == number + 1 {
            return Ok(());
        }
        expected.push(number.to_string());
    }
    let plural = if expected == ["1"] { "" } else { "s" };
    Err((
        span.line,
        format!("`{name}` takes {} argument{plural}, and is given {}", expected.join(" or "), arguments.len()),
    ))
}
