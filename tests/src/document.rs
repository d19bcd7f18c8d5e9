//! The OpenAPI document of a server, as the tests that are made from it read it.

use crate::user::User;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

pub const JSON: &str = "application/json";
pub const JSON_LINES: &str = "application/x-ndjson";

/// One operation of the document.
pub struct Operation {
    pub id: String,
    pub method: Method,
    pub path: String,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    /// Strangers may call it.
    pub is_open: bool,
    pub statuses: Vec<u16>,
}

pub struct Parameter {
    pub name: String,
    /// `path`, `query` or `header`
    pub place: String,
    pub is_required: bool,
}

pub struct Body {
    pub content_type: String,
    pub schema: Schema,
}

/// A schema, with the document that its references lie in.
#[derive(Clone)]
pub struct Schema {
    document: std::sync::Arc<Value>,
    schema: Value,
}

/// Every operation of the document that the server of this user publishes.
pub async fn operations(user: &User) -> Vec<Operation> {
    let document = std::sync::Arc::new(user.get("/openapi.json").await.expect(StatusCode::OK));
    let mut operations = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(read(&document, (method, path), operation));
        }
    }
    operations
}

fn read(document: &std::sync::Arc<Value>, (method, path): (&str, &str), operation: &Value) -> Operation {
    let list = |name: &str| operation[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let bodies = operation["requestBody"]["content"].as_object();
    // One of them, the one that says most of what is in it.
    let body = bodies.and_then(|bodies| {
        let best = [JSON, JSON_LINES].into_iter().find_map(|kind| bodies.get_key_value(kind));
        best.or_else(|| bodies.iter().next())
    });
    let schema = |schema: &Value| Schema { document: document.clone(), schema: schema.clone() };
    let security = list("security");
    Operation {
        id: text(&operation["operationId"]),
        method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
        path: path.to_owned(),
        parameters: list("parameters")
            .iter()
            .map(|parameter| Parameter {
                name: text(&parameter["name"]),
                place: text(&parameter["in"]),
                is_required: parameter["required"] == true,
            })
            .collect(),
        body: body.map(|(content_type, media)| Body {
            content_type: content_type.split(';').next().unwrap().to_owned(),
            schema: schema(&media["schema"]),
        }),
        is_open: security.is_empty() || security.iter().any(|schemes| schemes == &Value::Object(Map::new())),
        statuses: operation["responses"]
            .as_object()
            .unwrap()
            .keys()
            .map(|key| key.parse().unwrap())
            .collect(),
    }
}

impl Operation {
    /// The body, where it is JSON.
    pub fn takes_json(&self) -> Option<&Schema> {
        self.body.as_ref().filter(|body| body.content_type == JSON).map(|body| &body.schema)
    }

    /// The body, or each line of it, where that is JSON.
    pub fn fields(&self) -> Option<&Schema> {
        let body = self.body.as_ref()?;
        [JSON, JSON_LINES].contains(&body.content_type.as_str()).then_some(&body.schema)
    }
}

impl Schema {
    /// The properties of an object, each with its name.
    pub fn properties(&self) -> Vec<(String, Self)> {
        self.parts().into_iter().flat_map(|part| part.own_properties()).collect()
    }

    /// What a list has, if this is one; the first where it may have several.
    pub fn item(&self) -> Option<Self> {
        let items = &self.plain()["items"];
        items.is_object().then(|| self.beside(items))
    }

    pub fn requires(&self, property: &str) -> bool {
        let has = |part: &Self| {
            let required = part.plain()["required"].as_array();
            required.is_some_and(|required| required.iter().any(|name| name == property))
        };
        self.parts().iter().any(has)
    }

    /// `string`, `integer`, `object`, … or nothing.
    pub fn kind(&self) -> String {
        self.plain()["type"].as_str().unwrap_or_default().to_owned()
    }

    /// A keyword such as `maxLength`.
    pub fn keyword(&self, name: &str) -> Value {
        self.plain()[name].clone()
    }

    /// A value that the schema allows; of objects, only what is required. What a property is called says what it means.
    pub fn sample(&self, name: &str) -> Value {
        if let Some(value) = by_name(name) {
            return value;
        }
        let schema = self.plain();
        if let Some(first) = schema["enum"].as_array().and_then(|items| items.first()) {
            return first.clone();
        }
        match self.kind().as_str() {
            "object" => self.sample_object(),
            "array" => {
                let least = schema["minItems"].as_u64().unwrap_or(0);
                (0..least).map(|_| self.beside(&schema["items"]).sample("")).collect::<Vec<_>>().into()
            }
            "integer" | "number" => {
                schema["minimum"].as_f64().map_or(1.into(), |least| (least as i64).into())
            }
            "boolean" => true.into(),
            "string" => match schema["format"].as_str() {
                Some("uuid") => uuid::Uuid::new_v4().to_string().into(),
                Some("date-time") => "2099-01-01T00:00:00Z".into(),
                Some(_) | None => "text".into(),
            },
            _ => Value::Null,
        }
    }

    fn sample_object(&self) -> Value {
        let required = self.properties().into_iter().filter(|(name, _)| self.requires(name));
        Value::Object(required.map(|(name, schema)| (name.clone(), schema.sample(&name))).collect())
    }

    fn own_properties(&self) -> Vec<(String, Self)> {
        let properties = self.plain()["properties"].as_object().cloned().unwrap_or_default();
        properties.into_iter().map(|(name, schema)| (name, self.beside(&schema))).collect()
    }

    /// All that it is at once: of several that it may be, the first.
    fn parts(&self) -> Vec<Self> {
        let schema = match &self.plain()["oneOf"][0] {
            Value::Null => self.clone(),
            first => self.beside(first),
        };
        match schema.referred()["allOf"].as_array() {
            Some(parts) => parts.iter().map(|part| schema.beside(part)).collect(),
            None => vec![schema],
        }
    }

    /// What it refers to, if it does.
    fn referred(&self) -> &Value {
        match self.schema["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => &self.schema,
        }
    }

    fn beside(&self, schema: &Value) -> Self {
        Self { document: self.document.clone(), schema: schema.clone() }
    }

    /// The schema itself, where this one only refers to it.
    fn plain(&self) -> &Value {
        let mut schema = &self.schema;
        loop {
            let first = &schema["allOf"][0];
            schema = match schema["$ref"].as_str() {
                Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
                None if first.is_object() => first,
                None => return schema,
            };
        }
    }
}

/// What a field of this name holds wherever it comes.
fn by_name(name: &str) -> Option<Value> {
    Some(match name {
        "email" => format!("{}@example.com", uuid::Uuid::new_v4().simple()).into(),
        "password" | "current_password" => crate::user::PASSWORD.into(),
        "new_password" => "another horse battery".into(),
        "language" | "preferred_language" | "target_language" => "en".into(),
        "phone_number" => "+15550100123".into(),
        "phone_numbers" => vec!["+15550100123"].into(),
        "size_bytes" => 10.into(),
        _ => return None,
    })
}
