//! Bodies that are wrong as a whole, or in one field.

use super::Trial;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::document::{Operation, Schema};
use tests::user::Answer;

const JSON: &str = "application/json";

const TEN_MILLION: usize = 10_000_000;

impl Trial {
    pub(super) async fn try_bodies(&mut self, operation: &Operation, schema: &Schema) {
        self.try_whole_bodies(operation, schema).await;
        self.try_content_types(operation, schema).await;
        for (name, field) in schema.properties() {
            let mut sample = schema.sample("");
            if schema.requires(&name) {
                sample.as_object_mut().unwrap().remove(&name);
                self.try_body(operation, (&name, &sample)).await;
            }
            for wrong in wrong_values(&field, schema.requires(&name)) {
                sample[&name] = wrong;
                self.try_body(operation, (&name, &sample)).await;
            }
            self.try_huge(operation, (&name, sample)).await;
        }
    }

    /// A body in which this field is wrong: the answer names it.
    async fn try_body(&mut self, operation: &Operation, (name, body): (&str, &Value)) {
        let found = self.send(self.with_body(operation, JSON, body.to_string())).await;
        let right = found.status == StatusCode::BAD_REQUEST && names(&found, name);
        let what = format!("{} with {name} as in {:.200}", operation.id, body.to_string());
        self.expect(&what, right, &operation.path, found);
    }

    async fn try_whole_bodies(&mut self, operation: &Operation, schema: &Schema) {
        let sample = schema.sample("").to_string();
        let twice = schema.properties().first().map(|(name, _)| format!("{{\"{name}\":1,\"{name}\":1}}"));
        let deep = "[".repeat(10_000);
        let wrong = ["[]", "null", "1", "\"\"", "{", "{]", "{\"a\":}", "nonsense", &deep];
        let mut bodies: Vec<Vec<u8>> = wrong.iter().map(|text| text.as_bytes().to_vec()).collect();
        bodies.extend(twice.map(String::into_bytes));
        bodies.push(format!("{sample}x").into_bytes());
        bodies.push([sample.trim_end_matches('}').as_bytes(), b",\"more\":\"\xff\"}"].concat());
        bodies.push(sample.replacen('{', "{\"more\":\"\\u0000\",", 1).replace(",}", "}").into_bytes());
        bodies.push(sample.replacen('{', "{\"more\":\"\\ud800\",", 1).replace(",}", "}").into_bytes());
        for body in bodies {
            let what = format!("{} with {:.200}", operation.id, String::from_utf8_lossy(&body));
            let found = self.send(self.with_body(operation, JSON, body)).await;
            self.expect(&what, found.status == StatusCode::BAD_REQUEST, &operation.path, found);
        }
    }

    async fn try_content_types(&mut self, operation: &Operation, schema: &Schema) {
        let kinds = [
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
        ];
        for kind in kinds {
            let request = self.with_body(operation, kind, schema.sample("").to_string());
            let found = self.send(request).await;
            let right = found.status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
            self.expect(&format!("{} as {kind}", operation.id), right, &operation.path, found);
        }
    }

    /// Ten million characters in one field.
    async fn try_huge(&mut self, operation: &Operation, (name, mut sample): (&str, Value)) {
        sample[name] = json!("x".repeat(TEN_MILLION));
        let found = self.send(self.with_body(operation, JSON, sample.to_string())).await;
        let right = found.status == StatusCode::PAYLOAD_TOO_LARGE;
        self.expect(
            &format!("{} with ten million characters of {name}", operation.id),
            right,
            &operation.path,
            found,
        );
    }
}

/// Values that a field does not allow.
fn wrong_values(field: &Schema, required: bool) -> Vec<Value> {
    let number = |name: &str| field.keyword(name).as_f64();
    let mut wrong = match field.kind().as_str() {
        "string" => {
            let mut wrong = vec![json!(1), json!(true), json!(["text"]), json!({}), json!("text\0")];
            if field.keyword("enum").is_array() || field.keyword("format").is_string() {
                wrong.push(json!("nonsense"));
            }
            wrong.extend(number("maxLength").map(|most| json!("é".repeat(most as usize + 1))));
            wrong.extend(number("minLength").filter(|least| *least > 0.0).map(|_| json!("")));
            wrong
        }
        "integer" => {
            let mut wrong = vec![json!("1"), json!(1.5), json!(1e300), json!(true), json!([])];
            wrong.push(serde_json::from_str("99999999999999999999").unwrap());
            wrong.extend(number("minimum").map(|least| json!(least as i64 - 1)));
            wrong.extend(number("maximum").map(|most| json!((most * 1.01) as i64 + 1)));
            wrong
        }
        "number" => {
            let mut wrong = vec![json!("1"), json!(true), json!({})];
            wrong.extend(number("minimum").map(|least| json!(least - 0.1)));
            wrong.extend(number("maximum").map(|most| json!(most + 0.1)));
            wrong
        }
        "boolean" => vec![json!("true"), json!(1), json!([])],
        "array" => vec![json!("text"), json!(1), json!({}), json!([[[]]])],
        "object" => vec![json!("text"), json!(1), json!([])],
        // Anything goes.
        _ => return vec![],
    };
    wrong.extend(required.then_some(Value::Null));
    wrong
}

/// Whether the answer says that it is this field, or something in it.
fn names(found: &Answer, field: &str) -> bool {
    let is_field = |name: &str| {
        name.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let body = &found.body;
    if let Some(details) = body["error"]["details"].as_str() {
        return details.split("; ").any(|fault| fault.split(": ").next().is_some_and(is_field));
    }
    match body["details"]["field"].as_str() {
        Some(name) => is_field(name),
        None => body.as_object().is_some_and(|fields| fields.keys().any(|name| is_field(name))),
    }
}
