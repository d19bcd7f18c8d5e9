//! Reads JSON as it was meant: UTF-8, each key once, no NUL. What most parsers let through, two programs may read
//! in two ways.

use std::cell::RefCell;
use std::fmt;

use pipeline::parameters::Invalid;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses the whole of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Invalid> {
    let text = std::str::from_utf8(bytes).map_err(|_| Invalid::new("body", "must be UTF-8"))?;
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict { duplicate: &duplicate }.deserialize(&mut deserializer);
    let parsed = parsed.and_then(|value| deserializer.end().map(|()| value));
    let value = parsed.map_err(|error| match duplicate.take() {
        Some(key) => Invalid::new(key, "appears more than once"),
        None => Invalid::new("body", format!("is not JSON: {error}")),
    })?;
    refuse_nul(&value, "body")?;
    Ok(value)
}

/// The same text for the same value, whatever the order of keys was.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            let fields: Vec<_> = keys
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn refuse_nul(value: &Value, field: &str) -> Result<(), Invalid> {
    let inner = |name: &str| if field == "body" { name.to_owned() } else { format!("{field}.{name}") };
    match value {
        Value::String(text) if text.contains('\0') => Err(Invalid::new(field, "must not hold NUL")),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| refuse_nul(item, &inner(&index.to_string()))),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            if key.contains('\0') {
                return Err(Invalid::new(field, "must not hold NUL"));
            }
            refuse_nul(value, &inner(key))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Builds a value and stops at the first key that an object has twice.
#[derive(Clone, Copy)]
struct Strict<'a> {
    duplicate: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = vec![];
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&key) {
                *self.duplicate.borrow_mut() = Some(key);
                return Err(A::Error::custom("duplicate key"));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{canonical, parse};

    #[track_caller]
    fn refused(body: &[u8], field: &str) {
        assert_eq!(parse(body).unwrap_err().field, field);
    }

    #[test]
    fn plain_json_is_read() {
        let body = r#" {"a": [1, -2, 3.5, true, null, "\u00e9\ud83d\ude00"], "b": {}} "#;
        assert_eq!(parse(body.as_bytes()).unwrap(), json!({"a": [1, -2, 3.5, true, null, "é😀"], "b": {}}));
    }

    #[test]
    fn what_two_programs_could_read_in_two_ways_is_refused() {
        refused(br#"{"email": 1, "email": 2}"#, "email");
        refused(br#"{"a": {"b": 1, "b": 1}}"#, "b");
        refused(b"{\"a\": \"\xff\"}", "body");
        refused(br#"{"a": "x\u0000"}"#, "a");
        refused(br#"{"a": {"c": ["\u0000"]}}"#, "a.c.0");
        refused(br#"{"a": "\ud800"}"#, "body");
        refused(br#"{"a": 1} x"#, "body");
        refused(br#"{"a": 1e999}"#, "body");
        refused(&b"[".repeat(10_000), "body");
        refused(b"", "body");
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one = parse(br#"{"a": {"x": 1, "y": [true]}, "b": "\""}"#).unwrap();
        let two = parse(br#"{"b": "\"", "a": {"y": [true], "x": 1}}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
    }
}
