//! Request bodies, read as the contract says (server §0.1): keys in any case, unknown ones ignored, the last of several
//! wins, `null` means absent, only the first JSON value counts. Stricter than that in two things that no client sends: a
//! list is never taken for an object, and no text may hold a NUL, which PostgreSQL cannot store.

use std::collections::HashMap;

use serde::{
    Deserializer,
    de::{DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::StringDeserializer},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is no JSON, or not of the type.
    #[error("invalid request body")]
    Invalid(#[from] serde_json::Error),
    /// Its lists and objects lie too deep inside one another.
    #[error("the request body is nested deeper than {0} levels")]
    TooDeep(usize),
    /// A text in it holds a NUL.
    #[error("the request body holds a NUL character")]
    Nul,
}

/// Reads a body of at most so many levels.
///
/// # Errors
/// See [`Unreadable`].
pub(crate) fn from_slice<T: DeserializeOwned>(body: &[u8], depth_max: usize) -> Result<T, Unreadable> {
    // Finding the end of the first value recurses into nothing, however deep it is.
    let first = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>().next();
    let raw = match first {
        None => return Err(<serde_json::Error as serde::de::Error>::custom("the body is empty").into()),
        Some(raw) => raw?,
    };
    if is_deeper(raw.get(), depth_max) {
        return Err(Unreadable::TooDeep(depth_max));
    }
    if holds_nul(raw.get()) {
        return Err(Unreadable::Nul);
    }
    let raw = if raw.get() == "null" { "{}" } else { raw.get() };
    Ok(T::deserialize(Lenient { raw })?)
}

/// Whether lists and objects of a JSON text lie deeper inside one another than so many levels.
fn is_deeper(json: &str, depth_max: usize) -> bool {
    let mut depth = 0;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                // What is escaped ends nothing.
                while bytes.find(|byte| matches!(byte, b'"' | b'\\')) == Some(b'\\') {
                    bytes.next();
                }
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    false
}

/// Whether a JSON text holds the escape of a NUL; a bare one is no JSON.
fn holds_nul(json: &str) -> bool {
    const ESCAPED: &str = "\\u0000";
    json.match_indices(ESCAPED).any(|(at, _)| {
        // After an odd number of backslashes, this one is itself escaped, and what follows are letters.
        let before = json.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        before % 2 == 0
    })
}

struct Lenient<'de> {
    raw: &'de str,
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.raw.as_bytes().first() {
            Some(b'{') => {
                let fields: HashMap<String, &'de RawValue> = serde_json::from_str::<Fields<'de>>(self.raw)?.0;
                visitor.visit_map(LenientMap { fields: fields.into_iter(), value: None })
            }
            Some(b'[') => {
                let items: Vec<&'de RawValue> = serde_json::from_str(self.raw)?;
                visitor.visit_seq(LenientSeq { items: items.into_iter() })
            }
            _ => serde_json::Deserializer::from_str(self.raw).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.raw == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        serde_json::Deserializer::from_str(self.raw).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        // A derived visitor takes a list as well, field by field.
        if self.raw.starts_with('[') {
            return Err(serde::de::Error::custom("a list stands where an object is expected"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// An object with its keys in lower case, the last of several kept, `null` values dropped.
struct Fields<'de>(HashMap<String, &'de RawValue>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = HashMap::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if value.get() == "null" {
                        continue;
                    }
                    fields.insert(key.to_lowercase(), value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct LenientMap<'de> {
    fields: std::collections::hash_map::IntoIter<String, &'de RawValue>,
    value: Option<&'de RawValue>,
}

impl<'de> MapAccess<'de> for LenientMap<'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: serde::de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(value);
        let key: StringDeserializer<Self::Error> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: serde::de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let raw = self.value.take().map_or("null", RawValue::get);
        seed.deserialize(Lenient { raw })
    }
}

struct LenientSeq<'de> {
    items: std::vec::IntoIter<&'de RawValue>,
}

impl<'de> SeqAccess<'de> for LenientSeq<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<T: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        self.items.next().map(|item| seed.deserialize(Lenient { raw: item.get() })).transpose()
    }
}

#[cfg(test)]
mod tests {
    use docstore_models::{CommitRequest, CreateBranchRequest};

    use super::{Unreadable, is_deeper};

    fn from_slice<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
        super::from_slice(body, 32)
    }

    #[test]
    fn keys_come_in_any_case_and_the_last_wins() {
        let request: CreateBranchRequest =
            from_slice(br#"{"NAME":"a","name":"b","draft":null,"more":[{"x":1}]} trailing"#).unwrap();
        assert_eq!(request, CreateBranchRequest { name: "b".into(), draft: false });
        let request: CreateBranchRequest = from_slice(b" null ").unwrap();
        assert_eq!(request, CreateBranchRequest::default());
    }

    #[test]
    fn a_text_about_nul_is_no_nul() {
        let request: CreateBranchRequest = from_slice(br#"{"name":"\\u0000"}"#).unwrap();
        assert_eq!(request.name, "\\u0000");
    }

    #[test]
    fn nested_objects_are_read_alike() {
        let request: CommitRequest =
            from_slice(br#"{"Branch":"x","FILES":[{"PATH":"a","Content":""},{"path":"b","content":null}]}"#).unwrap();
        assert_eq!(request.files.len(), 2);
        assert_eq!(request.files[0].content.as_deref(), Some(""));
        assert_eq!(request.files[1].content, None);
    }

    #[test]
    fn wrong_bodies_are_errors() {
        for body in
            [&b""[..], b"{", b"[]", b"7", b"\"x\"", b"{\"name\":7}", b"{\"name\":{}}", b"\xff", b"{\"draft\":\"x\"}"]
        {
            assert!(from_slice::<CreateBranchRequest>(body).is_err(), "{body:?}");
        }
        for body in [&br#"{"name":"a\u0000"}"#[..], br#"{"other":"\\\u0000"}"#, br#"{"files":[["a"]]}"#] {
            assert!(from_slice::<CommitRequest>(body).is_err(), "{body:?}");
        }
        for (json, depth) in
            [("7", 0), ("[]", 1), (r#"[{"a":[]},[],{}]"#, 3), (r#"{"[[[\"[[\\":[1]}"#, 2), (r#"["\\",["\\\"",[]]]"#, 3)]
        {
            assert!(!is_deeper(json, depth), "{json}");
            assert!(depth == 0 || is_deeper(json, depth - 1), "{json}");
        }
        let deep = format!("{{\"files\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(from_slice::<CommitRequest>(deep.as_bytes()).is_err());
    }
}
