//! Isolation: every operation of the document, called by nobody, another user, its owner and an administrator, with each
//! id in path, query and body. An id that nobody here knows how to make fails the test, so that no route is forgotten.

mod things;

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};
use tests::document::{JSON, JSON_LINES, Operation, operations};
use tests::server::Server;
use tests::user::{Answer, User, answer};
use things::{IdField, Kind, Things};

/// What the owner is answered where it is no success: the state does not allow it, or the sample is no credential.
const OWNER: [(&str, u16); 16] = [
    ("login_user", 401),
    ("sign_in", 401),
    ("login_with_session", 401),
    ("refresh_token", 401),
    ("refresh_day_token", 401),
    ("validate_session", 401),
    ("cancel_job", 409),
    ("cancel_session", 409),
    ("confirm_password_reset", 400),
    ("get_history_session", 404),
    ("pause_recording", 409),
    ("resume_recording", 409),
    ("stop_recording", 409),
    ("pause_campaign", 409),
    ("retry_job", 409),
    ("start_agent_session", 503),
];

/// What one must be told to enter is open to whoever was told: a room's code, the session that goes on there.
const SHARED: [(&str, &str); 2] = [("find_room_by_code", "unique_code"), ("join_session", "session_id")];

/// They end the login or the account of whoever calls them.
const FINAL: [&str; 4] = ["change_password", "erase_account", "logout_session", "logout_user"];

/// What is below is for administrators alone.
const ADMINISTRATION: &str = "/api/v1/admin/";

/// So that there are live rooms to get into.
const LIVEKIT: [(&str, &str); 2] =
    [("VOXMILL_LIVEKIT_API_KEY", "key"), ("VOXMILL_LIVEKIT_API_SECRET", "a secret of thirty-two bytes long")];

/// Fields that an operation needs beside those that are required of each of its bodies.
const BESIDES: [(&str, &str, &str); 2] =
    [("clone_voice", "text_content", "The mill turns."), ("generate_video", "extend", "freeze")];

/// A place of an operation where an id goes.
#[derive(Clone)]
struct Slot {
    place: String,
    name: String,
    /// A JSON pointer to the part of the body that it is in.
    within: String,
    kind: Kind,
    is_required: bool,
}

impl Slot {
    fn set(&self, body: &mut Value, id: Value) {
        body.pointer_mut(&self.within).unwrap()[&self.name] = id;
    }
}

/// The matrix as far as it was gone through.
struct Matrix {
    owner: Things,
    other: Things,
    admin: Things,
    cells: usize,
    faults: Vec<String>,
    leaks: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_changes_what_is_anothers() {
    let server = Server::start_with(&LIVEKIT);
    let (owner, other, admin) = (server.user().await, server.user().await, server.user().await);
    assert!(server.voxmill(&["admin", "add", &admin.email]).status().unwrap().success());
    let all = operations(&owner).await;
    let mut matrix = Matrix {
        owner: Things::of(owner).await,
        other: Things::of(other).await,
        admin: Things::of(admin).await,
        cells: 0,
        faults: vec![],
        leaks: 0,
    };
    for operation in &all {
        match operation.path.starts_with(ADMINISTRATION) {
            true => matrix.try_administration(operation).await,
            false => matrix.try_operation(operation).await,
        }
    }
    let Matrix { cells, leaks, faults, .. } = matrix;
    println!("isolation: {} operations, {cells} cells, {leaks} leaks", all.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

impl Matrix {
    async fn try_operation(&mut self, operation: &Operation) {
        let slots = slots(operation);
        let cells: Vec<Option<&Slot>> =
            if slots.is_empty() { vec![None] } else { slots.iter().map(Some).collect() };
        for tested in cells {
            if FINAL.contains(&operation.id.as_str()) {
                self.owner.log_in_anew().await;
            }
            self.owner.forget();
            let theirs = fill(operation, &slots, tested, &mut self.owner).await;
            self.call_as_nobody(operation, &theirs).await;
            self.call_as_another(operation, &slots, (tested, &theirs), Another::Other).await;
            self.call_as_another(operation, &slots, (tested, &theirs), Another::Admin).await;
            // What was registered as nobody cannot be registered again.
            let theirs = match tested {
                None => fill(operation, &slots, None, &mut self.owner).await,
                Some(_) => theirs,
            };
            self.call_as_owner(operation, &theirs).await;
        }
    }

    /// Of others' accounts and jobs, by administrators alone, and nothing of what is in them.
    async fn try_administration(&mut self, operation: &Operation) {
        let slots = slots(operation);
        self.owner.forget();
        let call = fill(operation, &slots, None, &mut self.owner).await;
        self.call_as_nobody(operation, &call).await;
        for (name, user) in
            [("another user", self.other.user.clone()), ("the owner", self.owner.user.clone())]
        {
            let found = call.send(operation, &user).await;
            self.expect(operation, name, found.status == 403, &found);
            self.look_for_leaks(operation, name, &found);
        }
        let found = call.send(operation, &self.admin.user).await;
        let shows = found.body.to_string().contains(self.owner.mark());
        self.expect(operation, "an administrator", found.status.is_success() && !shows, &found);
    }

    async fn call_as_nobody(&mut self, operation: &Operation, call: &Call) {
        let found = call.send(operation, &self.owner.user.with_token("")).await;
        if !operation.is_open {
            self.expect(operation, "nobody", found.status == 401, &found);
        }
        self.look_for_leaks(operation, "nobody", &found);
    }

    async fn call_as_owner(&mut self, operation: &Operation, call: &Call) {
        let caller = if FINAL.contains(&operation.id.as_str()) {
            self.owner.passing_user()
        } else {
            self.owner.user.clone()
        };
        let found = call.send(operation, &caller).await;
        let listed = OWNER.iter().find(|(id, _)| *id == operation.id).map(|(_, status)| *status);
        let right = listed.map_or(found.status.is_success(), |status| found.status == status);
        self.expect(operation, "the owner", right, &found);
    }

    /// With the owner's id in one slot and their own in the others, somebody else is answered as if it named nothing.
    async fn call_as_another(
        &mut self,
        operation: &Operation,
        slots: &[Slot],
        (tested, theirs): (Option<&Slot>, &Call),
        who: Another,
    ) {
        let name = who.name();
        if FINAL.contains(&operation.id.as_str()) {
            self.cells += 1;
            return;
        }
        let things = match who {
            Another::Other => &mut self.other,
            Another::Admin => &mut self.admin,
        };
        things.forget();
        let own = fill(operation, slots, tested, things).await;
        let user = things.user.clone();
        let Some(slot) = tested else {
            let found = own.send(operation, &user).await;
            let listed = OWNER.iter().any(|(id, _)| *id == operation.id);
            self.expect(operation, name, listed || found.status.is_success(), &found);
            self.look_for_leaks(operation, name, &found);
            return;
        };
        let missing = own.with(slot, slot.kind.missing()).send(operation, &user).await;
        let found = own.with(slot, theirs.id(slot)).send(operation, &user).await;
        let place = format!("{name}, with the owner's {} in the {}", slot.name, slot.place);
        if SHARED.contains(&(operation.id.as_str(), slot.name.as_str())) {
            self.expect(operation, &place, found.status.is_success(), &found);
            return;
        }
        let right = match forbids(operation, slot) {
            true => found.status == 403 && missing.status == 404,
            false => same(&found, &missing),
        };
        self.expect(operation, &place, right, &found);
        self.look_for_leaks(operation, &place, &found);
    }

    fn expect(&mut self, operation: &Operation, who: &str, right: bool, found: &Answer) {
        self.cells += 1;
        if !right {
            self.faults.push(format!("{} by {who}: {} {}", operation.id, found.status, found.body));
        }
        if !operation.statuses.contains(&found.status.as_u16()) {
            self.faults.push(format!("{} does not announce {}", operation.id, found.status));
        }
    }

    fn look_for_leaks(&mut self, operation: &Operation, who: &str, found: &Answer) {
        let text = found.body.to_string();
        for secret in self.owner.secrets().into_iter().filter(|secret| text.contains(secret.as_str())) {
            self.leaks += 1;
            self.faults.push(format!("{} shows {who} the owner's {secret}: {text}", operation.id));
        }
    }
}

#[derive(Clone, Copy)]
enum Another {
    Other,
    Admin,
}

impl Another {
    fn name(self) -> &'static str {
        match self {
            Self::Other => "another user",
            Self::Admin => "an administrator",
        }
    }
}

/// The parameters and the body of a request.
#[derive(Clone)]
struct Call {
    path: String,
    query: Map<String, Value>,
    body: Value,
    ids: Map<String, Value>,
}

impl Call {
    fn id(&self, slot: &Slot) -> Value {
        self.ids[&slot.name].clone()
    }

    fn with(&self, slot: &Slot, id: Value) -> Self {
        let mut changed = self.clone();
        match slot.place.as_str() {
            "path" => changed.path = changed.path.replace(&text(&self.ids[&slot.name]), &text(&id)),
            "query" => changed.query[&slot.name] = id,
            _ => slot.set(&mut changed.body, id),
        }
        changed
    }

    async fn send(&self, operation: &Operation, user: &User) -> Answer {
        let query: Vec<_> = self.query.iter().map(|(name, value)| (name, text(value))).collect();
        let request = user.request(operation.method.clone(), &self.path).query(&query);
        answer(self.attach(operation, request).send().await.unwrap()).await
    }

    fn attach(&self, operation: &Operation, request: RequestBuilder) -> RequestBuilder {
        match operation.body.as_ref().map(|body| body.content_type.as_str()) {
            None => request,
            Some(JSON) => request.json(&self.body),
            Some(JSON_LINES) => request.header(CONTENT_TYPE, JSON_LINES).body(self.body.to_string()),
            Some("multipart/form-data") => request.multipart(things::form()),
            Some("application/octet-stream") => request.body(things::PART),
            Some(other) => panic!("{}: nobody knows how to send {other}", operation.id),
        }
    }
}

/// The places of an operation where ids go.
fn slots(operation: &Operation) -> Vec<Slot> {
    let mut slots = vec![];
    for parameter in &operation.parameters {
        let Some(kind) = Kind::of(operation, (&parameter.place, &parameter.name)) else { continue };
        slots.push(Slot {
            place: parameter.place.clone(),
            name: parameter.name.clone(),
            within: String::new(),
            kind,
            is_required: parameter.place == "path" || parameter.is_required,
        });
    }
    for IdField { name, within, kind, is_required } in things::ids_of_body(operation) {
        slots.push(Slot { place: "body".to_owned(), name, within, kind, is_required });
    }
    slots
}

/// A request whose ids are all of `things`; ids that are not required are there if they are tested.
async fn fill(operation: &Operation, slots: &[Slot], tested: Option<&Slot>, things: &mut Things) -> Call {
    let mut call =
        Call { path: operation.path.clone(), query: Map::new(), body: Value::Null, ids: Map::new() };
    if let Some(schema) = operation.fields() {
        call.body = schema.sample("");
        for (_, field, value) in BESIDES.iter().filter(|(id, ..)| *id == operation.id) {
            call.body[field] = json!(value);
        }
    }
    for slot in slots {
        let is_tested = tested.is_some_and(|tested| tested.name == slot.name);
        if !is_tested && !slot.is_required {
            continue;
        }
        let id = things.make(slot.kind).await;
        match slot.place.as_str() {
            "path" => call.path = call.path.replace(&format!("{{{}}}", slot.name), &text(&id)),
            "query" => drop(call.query.insert(slot.name.clone(), id.clone())),
            _ => slot.set(&mut call.body, id.clone()),
        }
        call.ids.insert(slot.name.clone(), id);
    }
    call.path = call.path.replace("{number}", "1");
    for parameter in
        operation.parameters.iter().filter(|parameter| parameter.is_required && parameter.place == "query")
    {
        let value =
            if parameter.name == "text" { json!("The mill turns.") } else { json!(uuid::Uuid::new_v4()) };
        call.query.entry(parameter.name.clone()).or_insert(value);
    }
    call
}

/// `[voice-project]` says 403 of what exists and is another's.
fn forbids(operation: &Operation, slot: &Slot) -> bool {
    let of_document = ["/api/v1/projects", "/api/v1/sessions/start", "/api/v1/sessions/finish"];
    let lists = operation.path == "/api/v1/sessions";
    matches!(slot.kind, Kind::Project | Kind::VoiceSession)
        && (lists || of_document.iter().any(|path| operation.path.starts_with(path)))
}

/// But for the time.
fn same(one: &Answer, two: &Answer) -> bool {
    let untimed = |answer: &Answer| {
        let mut body = answer.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.remove("timestamp");
        }
        (answer.status, body)
    };
    untimed(one) == untimed(two) && one.status != StatusCode::INTERNAL_SERVER_ERROR
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
