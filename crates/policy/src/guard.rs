//! Built-ins that could allocate without limit in one instruction, and the clock.
//!
//! The engine counts instructions, and a built-in is one of them, whatever it makes. So those whose result can be larger
//! than what they are given are called from here, after a look at the sizes. All others answer with something no larger
//! than their arguments.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regorus::{
    Source, Value,
    unstable::{BUILTINS, Expr, Ref, Span},
};

/// How large the arguments and the result of a guarded built-in may be, spelled out: bytes of text and parts of
/// collections. The document of a merge that changes a hundred thousand files has a quarter of it.
pub(crate) const VALUE_SIZE_MAX: usize = 32 * 1024 * 1024;
/// How long a list of numbers may be.
const RANGE_MAX: i64 = 100_000;
/// How far a number may be shifted to the left.
const SHIFT_BITS_MAX: i64 = 65_536;
/// How wide `sprintf` may be told to fill; no line of text is wider.
const WIDTH_DIGITS_MAX: usize = 4;

/// The one built-in whose answer is not in the document.
pub(crate) const CLOCK: &str = "time.now_ns";

/// By name, with the number of arguments.
const GUARDED: [(&str, usize); 22] = [
    (CLOCK, 0),
    ("array.concat", 2),
    ("base64.encode", 1),
    ("base64url.encode", 1),
    ("base64url.encode_no_pad", 1),
    ("bits.lsh", 2),
    ("concat", 2),
    ("format_int", 2),
    ("hex.encode", 1),
    ("json.marshal", 1),
    ("json.marshal_with_options", 2),
    ("numbers.range", 2),
    ("numbers.range_step", 3),
    ("object.union", 2),
    ("object.union_n", 1),
    ("regex.replace", 3),
    ("replace", 3),
    ("sprintf", 2),
    ("strings.replace_n", 2),
    ("urlquery.encode", 1),
    ("urlquery.encode_object", 1),
    ("walk", 1),
];

/// What the compiler must leave to us.
pub(crate) fn guarded() -> impl Iterator<Item = (&'static str, usize)> {
    GUARDED.into_iter().filter(|(name, _)| *name == CLOCK || BUILTINS.contains_key(name))
}

/// What stands for the place in the source, which the built-ins want for their messages.
static PLACE: LazyLock<Option<Span>> = LazyLock::new(|| {
    let source = Source::from_contents("built-in".to_owned(), String::new()).ok()?;
    Some(Span { source, line: 1, col: 1, start: 0, end: 0 })
});

/// It would be too large.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Calls a guarded built-in. Where the arguments make no sense the answer is undefined, as for any built-in.
pub(crate) fn call(name: &str, arguments: &[Value], now: DateTime<Utc>) -> Result<Value, TooLarge> {
    if name == CLOCK {
        return Ok(now.timestamp_nanos_opt().map_or(Value::Undefined, Value::from));
    }
    let mut size = 0;
    for argument in arguments {
        size += size_of(argument, VALUE_SIZE_MAX - size)?;
    }
    if result_size(name, arguments, size) > VALUE_SIZE_MAX {
        return Err(TooLarge);
    }
    let (Some((_, (function, _))), Some(span)) = (BUILTINS.get_key_value(name), PLACE.as_ref()) else {
        return Ok(Value::Undefined);
    };
    let parameters: Vec<Ref<Expr>> =
        arguments.iter().map(|_| Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 })).collect();
    Ok(function(span, &parameters, arguments, false).unwrap_or(Value::Undefined))
}

/// An upper bound for the size of a result.
fn result_size(name: &str, arguments: &[Value], size: usize) -> usize {
    let text = |index: usize| arguments.get(index).and_then(|value| value.as_string().ok()).map_or("", |text| text);
    let number = |index: usize| arguments.get(index).and_then(|value| value.as_i64().ok());
    match name {
        "concat" => {
            let parts = match arguments.get(1) {
                Some(Value::Array(parts)) => parts.len(),
                Some(Value::Set(parts)) => parts.len(),
                _ => 0,
            };
            size.saturating_add(text(0).len().saturating_mul(parts))
        }
        "replace" => {
            let found = match text(1) {
                "" => text(0).chars().count() + 1,
                old => text(0).matches(old).count(),
            };
            size.saturating_add(text(2).len().saturating_mul(found))
        }
        "strings.replace_n" => {
            let longest = match arguments.first() {
                Some(Value::Object(pairs)) => {
                    pairs.iter().filter_map(|(_, new)| new.as_string().ok().map(|new| new.len())).max()
                }
                _ => None,
            };
            size.saturating_add((text(1).len() + 1).saturating_mul(longest.unwrap_or_default()))
        }
        "regex.replace" => {
            // Each group that the replacement names can be as long as the text.
            let groups = text(2).matches('$').count();
            let each = text(2).len().saturating_add(groups.saturating_mul(text(0).len()));
            size.saturating_add((text(0).len() + 1).saturating_mul(each))
        }
        "sprintf" => {
            let format = text(0);
            if format.split(|char: char| !char.is_ascii_digit()).any(|digits| digits.len() > WIDTH_DIGITS_MAX) {
                return usize::MAX;
            }
            let verbs = format.matches('%').count();
            let widest = 10usize.pow(4);
            // Quoting doubles a text at most four times over.
            size.saturating_mul(4).saturating_mul(verbs.max(1)).saturating_add(verbs.saturating_mul(widest))
        }
        "numbers.range" | "numbers.range_step" => match (number(0), number(1)) {
            (Some(from), Some(to)) if from.abs_diff(to) < RANGE_MAX.unsigned_abs() => size,
            _ => usize::MAX,
        },
        "bits.lsh" => match number(1) {
            Some(bits) if bits <= SHIFT_BITS_MAX => size,
            _ => usize::MAX,
        },
        _ => size,
    }
}

/// The size of a value, spelled out: what is shared counts as often as it is there.
pub(crate) fn size_of(value: &Value, limit: usize) -> Result<usize, TooLarge> {
    let mut size = 0usize;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        size = size.saturating_add(8);
        match value {
            Value::String(text) => size = size.saturating_add(text.len()),
            Value::Array(items) => open.extend(items.iter()),
            Value::Set(items) => open.extend(items.iter()),
            Value::Object(fields) => open.extend(fields.iter().flat_map(|(key, value)| [key, value])),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined => {}
        }
        // Before the parts of parts of shared parts pile up.
        if size > limit || open.len() > limit {
            return Err(TooLarge);
        }
    }
    Ok(size)
}
