//! Files: what was uploaded and what jobs made.

use std::sync::Arc;

use chrono::Utc;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body as PoemBody, IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, OpenApi};
use storage::files::{File, FileFilter};
use storage::ids::{FileId, ProjectId};
use storage::objects::{Presentation, StagedObject};
use uuid::Uuid;

use crate::app::App;
use crate::caller::{Access, Caller};
use crate::dto::files::{FileKind, FileObject};
use crate::dto::{Done, Listed, page};
use crate::edge::HeadOnly;
use crate::error::{ApiError, Result};
use crate::intake::{self, Arrival, LONGEST_NAME, Room};
use crate::range::{self, Asked, Part};
use crate::tags::Tag;
use crate::upload_form::{FormField, UploadForm};

/// Bytes of a form besides its file.
const FORM_OVERHEAD: u64 = 1 << 20;

pub(crate) struct FilesApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
pub(crate) enum CreatedFile {
    /// The file is stored
    #[oai(status = 201)]
    Created(Json<FileObject>),
}

#[OpenApi(prefix_path = "/api/v1/files", tag = "Tag::Files")]
impl FilesApi {
    /// Upload a file
    ///
    /// Audio, video, or UTF-8 text (SRT, VTT, plain) up to 10 MiB, told by its content.
    #[oai(path = "/upload", method = "post", operation_id = "upload_file")]
    async fn upload(&self, caller: Caller, form: UploadForm) -> Result<CreatedFile> {
        let room = intake::room(&self.app, caller.user).await?;
        if let Some(length) = form.length {
            room.admit(length.saturating_sub(FORM_OVERHEAD))?;
        }
        let Received { filename, staged, project_name } = self.receive(form, room).await?;
        let arrival = Arrival { owner: caller.user, filename, project_name, staged, upload: None };
        let file = intake::accept(&self.app, arrival).await?;
        Ok(CreatedFile::Created(Json(FileObject::new(file, &caller.links, Utc::now()))))
    }

    /// List files, newest first
    #[oai(path = "/", method = "get", operation_id = "list_files")]
    async fn list(
        &self,
        caller: Caller,
        /// Id of a project.
        project: Query<Option<i64>>,
        kind: Query<Option<FileKind>>,
        /// Items of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<Listed<FileObject>>> {
        let filter = FileFilter { project: project.0.map(ProjectId), kind: kind.0.map(Into::into) };
        let files =
            self.app.services.storage.files.list(caller.user, &filter, &page(limit.0, cursor.0)).await?;
        let now = Utc::now();
        let items = files.items.into_iter().map(|file| FileObject::new(file, &caller.links, now)).collect();
        Ok(Json(Listed { items, next_cursor: files.next_cursor }))
    }

    /// Get a file
    #[oai(path = "/:file_id", method = "get", operation_id = "get_file")]
    async fn get(&self, caller: Caller, file_id: Path<Uuid>) -> Result<Json<FileObject>> {
        let file = self.app.services.storage.files.find(caller.user, FileId::from(file_id.0)).await?;
        Ok(Json(FileObject::new(file, &caller.links, Utc::now())))
    }

    /// Delete a file
    #[oai(path = "/:file_id", method = "delete", operation_id = "delete_file")]
    async fn delete(&self, caller: Caller, file_id: Path<Uuid>) -> Result<Done> {
        self.app.services.storage.files.delete(caller.user, FileId::from(file_id.0)).await?;
        Ok(Done::NoContent)
    }

    /// Get the bytes of a file
    ///
    /// Whole, or the range asked for.
    #[oai(path = "/:file_id/content", method = "get", operation_id = "get_file_content")]
    async fn content(&self, access: Access, file_id: Path<Uuid>, request: &Request) -> Result<Content> {
        let (files, id) = (&self.app.services.storage.files, FileId::from(file_id.0));
        let file = match access {
            Access::Owner(caller) => files.find(caller.user, id).await?,
            Access::Signed => files.find_signed(id).await?,
        };
        send(&self.app, &file, request).await
    }
}

/// What a form brought.
struct Received {
    filename: String,
    staged: StagedObject,
    project_name: Option<String>,
}

impl FilesApi {
    async fn receive(&self, mut form: UploadForm, room: Room) -> Result<Received> {
        let mut file: Option<(String, StagedObject)> = None;
        let mut project_name = None;
        while let Some(field) = form.next_field().await? {
            match field.name() {
                Some("file") if file.is_some() => return Err(ApiError::invalid("file", "must come once")),
                Some("file") => file = Some(self.receive_file(field, room).await?),
                Some("project_name") => project_name = Some(field.into_text(LONGEST_NAME).await?),
                Some(_) | None => field.skip(FORM_OVERHEAD).await?,
            }
        }
        let (filename, staged) = file.ok_or_else(|| ApiError::invalid("file", "is required"))?;
        // A form with an empty text field says no more than one without the field.
        let project_name = project_name.filter(|name: &String| !name.trim().is_empty());
        Ok(Received { filename, staged, project_name })
    }

    async fn receive_file(&self, field: FormField, room: Room) -> Result<(String, StagedObject)> {
        let filename = intake::plain_filename(field.filename());
        let staged = intake::stage(&self.app, field.into_stream(), room).await?;
        Ok((filename, staged))
    }
}

/// The bytes of a file, or of part of it, or the news that the client has them.
pub(crate) struct Content(Response);

pub(crate) async fn send(app: &App, file: &File, request: &Request) -> Result<Content> {
    let etag = format!("\"{}\"", file.sha256);
    if request.header(header::IF_NONE_MATCH).is_some_and(|tags| lists(tags, &etag)) {
        return Ok(Content(with_validators(StatusCode::NOT_MODIFIED.into_response(), &etag)));
    }
    let shown =
        Presentation { content_type: file.content_type.clone(), disposition: disposition(&file.filename) };
    let head_only = request.data::<HeadOnly>().is_some();
    // A URL of the store is for one method, and that is GET.
    if !head_only && let Some(url) = app.services.storage.objects.public_url(&file.object_key, &shown).await?
    {
        return Ok(Content(elsewhere(&url)?));
    }
    let asked = Asked { range: request.header(header::RANGE), if_range: request.header(header::IF_RANGE) };
    let size = file.size_bytes;
    let (status, range) = match range::resolve(asked, &etag, size) {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Unsatisfiable => return Err(ApiError::range_not_satisfiable(size)),
    };
    let length = range.end - range.start;
    let partial = status == StatusCode::PARTIAL_CONTENT;
    let content_range = partial.then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1));
    let body = match head_only {
        true => PoemBody::empty(),
        false => {
            let reader =
                app.services.storage.objects.open(&file.object_key, partial.then_some(range)).await?;
            PoemBody::from_async_read(tokio::io::BufReader::with_capacity(64 << 10, reader))
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, shown.content_type)
        .header(header::CONTENT_LENGTH, length)
        .header(header::CONTENT_DISPOSITION, shown.disposition)
        // Whatever a browser makes of the bytes, it runs no script of theirs.
        .header(
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'",
        );
    if let Some(content_range) = content_range {
        response = response.header(header::CONTENT_RANGE, content_range);
    }
    Ok(Content(with_validators(response.body(body), &etag)))
}

/// The URL holds for a short time, and for whoever has it.
fn elsewhere(url: &str) -> Result<Response> {
    let mut location = HeaderValue::from_str(url).map_err(ApiError::internal)?;
    location.set_sensitive(true);
    let response = Response::builder()
        .status(StatusCode::FOUND)
        .header(header::LOCATION, location)
        .header(header::CACHE_CONTROL, "private, no-store");
    Ok(response.finish())
}

fn with_validators(mut response: Response, etag: &str) -> Response {
    let headers = response.headers_mut();
    let etag = HeaderValue::from_str(etag).expect("a digest is legal in a header. This is a bug.");
    headers.insert(header::ETAG, etag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// Whether `If-None-Match` lists the tag; the comparison is the weak one.
fn lists(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// RFC 6266: a name of plain characters for every client, and the true one for those that read RFC 8187.
fn disposition(filename: &str) -> String {
    let safe = |character: char| character.is_ascii_alphanumeric() || " ._-()".contains(character);
    let plain: String =
        filename.chars().map(|character| if safe(character) { character } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in filename.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

impl IntoResponse for Content {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Content {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![
                content_meta(200, "All bytes", &["ETag", "Content-Disposition"]),
                content_meta(
                    206,
                    "The bytes of the range",
                    &["ETag", "Content-Disposition", "Content-Range"],
                ),
                MetaResponse {
                    content: vec![],
                    ..content_meta(302, "The object store has the bytes", &["Location"])
                },
                MetaResponse {
                    content: vec![],
                    ..content_meta(304, "The client has them already", &["ETag"])
                },
            ],
        }
    }

    fn register(_: &mut Registry) {}
}

fn content_meta(status: u16, description: &'static str, headers: &[&str]) -> MetaResponse {
    let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
    let header = |name: &&str| MetaHeader {
        name: (*name).to_owned(),
        description: None,
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    };
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: "*/*", schema }],
        headers: headers.iter().map(header).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{disposition, lists};

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(disposition("clip.mp4"), "attachment; filename=\"clip.mp4\"; filename*=UTF-8''clip.mp4");
        assert_eq!(
            disposition("a\"; b=\r\n é.wav"),
            "attachment; filename=\"a__ b___ _.wav\"; filename*=UTF-8''a%22%3B%20b%3D%0D%0A%20%C3%A9.wav"
        );
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(lists("\"a\", W/\"b\"", "\"b\"") && lists("*", "\"b\""));
        assert!(!lists("\"a\"", "\"b\"") && !lists("", "\"b\""));
    }
}
