//! Checks a body against the very schema that the document publishes for it, so that the two cannot differ, and names
//! the field that is at fault: poem-openapi's own messages do not.

use chrono::DateTime;
use pipeline::parameters::Invalid;
use poem_openapi::registry::{MetaDiscriminatorObject, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::Value;
use uuid::Uuid;

/// Checks that `value` is a `T`. Optional fields that are null are removed: absent and null are the same.
pub(crate) fn check<T: Type>(value: &mut Value) -> Result<(), Invalid> {
    Checker::of::<T>().check(value)
}

/// Checks many values of one type.
pub(crate) struct Checker {
    registry: Registry,
    schema: MetaSchemaRef,
}

impl Checker {
    pub(crate) fn of<T: Type>() -> Self {
        let mut registry = Registry::new();
        T::register(&mut registry);
        Self { registry, schema: T::schema_ref() }
    }

    /// As [`check`] does.
    pub(crate) fn check(&self, value: &mut Value) -> Result<(), Invalid> {
        self.check_part(&self.schema, value, "")
    }

    fn check_part(&self, schema: &MetaSchemaRef, value: &mut Value, field: &str) -> Result<(), Invalid> {
        match schema {
            MetaSchemaRef::Inline(schema) => self.check_inline(schema, value, field),
            MetaSchemaRef::Reference(name) => {
                let schema = self.registry.schemas.get(name);
                self.check_inline(
                    schema.expect("a type registers what it refers to. This is a bug."),
                    value,
                    field,
                )
            }
        }
    }

    fn check_inline(&self, schema: &MetaSchema, value: &mut Value, field: &str) -> Result<(), Invalid> {
        if let (Some(tag), Value::Object(_)) = (&schema.discriminator, &*value) {
            return self.check_tagged(tag, value, field);
        }
        for part in &schema.all_of {
            self.check_part(part, value, field)?;
        }
        let wrong = |issue: &str| Err(Invalid::new(name(field), issue));
        if value.is_null() && !schema.ty.is_empty() {
            return wrong("must not be null");
        }
        match (schema.ty, &mut *value) {
            ("object", Value::Object(_)) => self.check_object(schema, value, field),
            ("object", _) => wrong("must be an object"),
            ("array", Value::Array(items)) => self.check_array(schema, items, field),
            ("array", _) => wrong("must be an array"),
            ("string", Value::String(text)) => check_string(schema, text).or_else(|issue| wrong(&issue)),
            ("string", _) => wrong("must be a string"),
            ("integer", Value::Number(number)) if number.is_f64() => wrong("must be a whole number"),
            ("integer" | "number", Value::Number(number)) => {
                check_number(schema, number.as_f64().unwrap_or(f64::INFINITY)).or_else(|issue| wrong(&issue))
            }
            ("integer" | "number", _) => wrong("must be a number"),
            ("boolean", Value::Bool(_)) => Ok(()),
            ("boolean", _) => wrong("must be true or false"),
            _ => Ok(()),
        }
    }

    fn check_object(&self, schema: &MetaSchema, value: &mut Value, field: &str) -> Result<(), Invalid> {
        let Value::Object(map) = value else { return Ok(()) };
        for (key, property) in &schema.properties {
            let inner = inner(field, key);
            let required = schema.required.contains(key);
            match map.get_mut(*key) {
                None if required => return Err(Invalid::new(inner, "is required")),
                None => {}
                Some(Value::Null) if !required => {
                    map.remove(*key);
                }
                Some(value) => self.check_part(property, value, &inner)?,
            }
        }
        Ok(())
    }

    /// One of several, as its tag says.
    fn check_tagged(
        &self,
        tag: &MetaDiscriminatorObject,
        value: &mut Value,
        field: &str,
    ) -> Result<(), Invalid> {
        let name = tag.property_name;
        let wrong = |issue: &str| Err(Invalid::new(inner(field, name), issue));
        let kind = match value.get(name) {
            None => return wrong("is required"),
            Some(Value::String(kind)) => kind,
            Some(_) => return wrong("must be a string"),
        };
        let Some((_, reference)) = tag.mapping.iter().find(|(name, _)| name == kind) else {
            let kinds: Vec<_> = tag.mapping.iter().map(|(name, _)| name.as_str()).collect();
            return wrong(&format!("must be one of {}", kinds.join(", ")));
        };
        let schema = reference.rsplit('/').next().unwrap_or(reference).to_owned();
        self.check_part(&MetaSchemaRef::Reference(schema), value, field)
    }

    fn check_array(&self, schema: &MetaSchema, items: &mut [Value], field: &str) -> Result<(), Invalid> {
        let wrong = |issue: String| Err(Invalid::new(name(field), issue));
        if let Some(most) = schema.max_items.filter(|most| items.len() > *most) {
            return wrong(format!("must have at most {most} items"));
        }
        if let Some(least) = schema.min_items.filter(|least| items.len() < *least) {
            return wrong(format!("must have at least {least} items"));
        }
        let Some(of) = &schema.items else { return Ok(()) };
        for (index, item) in items.iter_mut().enumerate() {
            self.check_part(of, item, &format!("{field}.{index}"))?;
        }
        Ok(())
    }
}

fn check_string(schema: &MetaSchema, text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if let Some(least) = schema.min_length.filter(|least| length < *least) {
        return Err(if length == 0 {
            "must not be empty".into()
        } else {
            format!("must be at least {least} characters")
        });
    }
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        return Err(format!("must be at most {most} characters"));
    }
    if !schema.enum_items.is_empty() && !schema.enum_items.iter().any(|item| item == text) {
        let items: Vec<_> = schema.enum_items.iter().filter_map(Value::as_str).collect();
        return Err(format!("must be one of {}", items.join(", ")));
    }
    match schema.format {
        Some("uuid") if Uuid::try_parse(text).is_err() => Err("must be a UUID".into()),
        Some("date-time") if DateTime::parse_from_rfc3339(text).is_err() => {
            Err("must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z".into())
        }
        _ => Ok(()),
    }
}

fn check_number(schema: &MetaSchema, number: f64) -> Result<(), String> {
    if let Some(least) = schema.minimum.filter(|least| number < *least) {
        return Err(format!("must be at least {least}"));
    }
    if let Some(most) = schema.maximum.filter(|most| number > *most) {
        return Err(format!("must be at most {most}"));
    }
    Ok(())
}

/// How a property of what is called `field` is called.
fn inner(field: &str, property: &str) -> String {
    if field.is_empty() { property.to_owned() } else { format!("{field}.{property}") }
}

/// How the body as a whole is called.
fn name(field: &str) -> &str {
    if field.is_empty() { "body" } else { field }
}

#[cfg(test)]
mod tests {
    use poem_openapi::{Enum, Object, Union};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::check;

    #[derive(Enum)]
    #[oai(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Object)]
    struct Inner {
        #[oai(validator(minimum(value = "0")))]
        start: f64,
    }

    #[derive(Union)]
    #[oai(discriminator_name = "kind", one_of)]
    enum Tagged {
        #[oai(mapping = "inner")]
        Inner(Inner),
    }

    #[derive(Object)]
    struct Body {
        tagged: Option<Vec<Tagged>>,
        #[oai(validator(min_length = 2, max_length = 4))]
        name: String,
        id: Option<Uuid>,
        colour: Option<Colour>,
        #[oai(validator(minimum(value = "1"), maximum(value = "9")))]
        count: Option<u32>,
        #[oai(validator(max_items = 2))]
        inner: Option<Vec<Inner>>,
    }

    #[track_caller]
    fn refused(mut body: Value, field: &str, issue: &str) {
        let invalid = check::<Body>(&mut body).unwrap_err();
        assert_eq!((invalid.field.as_str(), invalid.issue.as_str()), (field, issue));
    }

    #[test]
    fn the_field_at_fault_is_named() {
        refused(json!([]), "body", "must be an object");
        refused(json!({}), "name", "is required");
        refused(json!({"name": null}), "name", "must not be null");
        refused(json!({"name": 1}), "name", "must be a string");
        refused(json!({"name": ""}), "name", "must not be empty");
        refused(json!({"name": "abcde"}), "name", "must be at most 4 characters");
        refused(json!({"name": "abc", "id": "x"}), "id", "must be a UUID");
        refused(json!({"name": "abc", "colour": "blue"}), "colour", "must be one of red, green");
        refused(json!({"name": "abc", "count": 10}), "count", "must be at most 9");
        refused(json!({"name": "abc", "count": 1.5}), "count", "must be a whole number");
        refused(json!({"name": "abc", "count": "5"}), "count", "must be a number");
        refused(
            json!({"name": "abc", "inner": [{"start": 0}, {"start": -1}]}),
            "inner.1.start",
            "must be at least 0",
        );
        let tagged = |value: Value| json!({"name": "abc", "tagged": [{"kind": "inner", "start": 0}, value]});
        refused(tagged(json!(1)), "tagged.1", "must be an object");
        refused(tagged(json!({"start": 0})), "tagged.1.kind", "is required");
        refused(tagged(json!({"kind": 1})), "tagged.1.kind", "must be a string");
        refused(tagged(json!({"kind": "outer"})), "tagged.1.kind", "must be one of inner");
        refused(tagged(json!({"kind": "inner", "start": -1})), "tagged.1.start", "must be at least 0");
        refused(json!({"name": "abc", "inner": [{}, {}, {}]}), "inner", "must have at most 2 items");
    }

    #[test]
    fn unknown_fields_are_ignored_and_null_is_absent() {
        let mut body = json!({"name": "éé", "count": null, "more": {"a": 1}});
        check::<Body>(&mut body).unwrap();
        assert_eq!(body, json!({"name": "éé", "more": {"a": 1}}));
    }
}
