//! Large files, in parts that the client sends in any order, and again after a failure.

use std::io;
use std::sync::Arc;

use chrono::Utc;
use futures_util::TryStreamExt;
use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::error::Error as StorageError;
use storage::ids::UploadId;
use storage::uploads::{NewUpload as Announced, Upload};
use tokio_util::io::StreamReader;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Body, RawBody, content_length};
use crate::caller::{Access, Caller};
use crate::dto::Done;
use crate::dto::files::{FileObject, NewUpload, PartLinks, ReceivedPart, UploadObject};
use crate::error::{ApiError, Result};
use crate::files::CreatedFile;
use crate::intake;
use crate::joining;
use crate::tags::Tag;

pub(crate) struct UploadsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum BegunUpload {
    /// The parts may come
    #[oai(status = 201)]
    Created(Json<UploadObject>),
}

#[OpenApi(prefix_path = "/api/v1/files/uploads", tag = "Tag::Files")]
impl UploadsApi {
    /// Begin an upload in parts
    #[oai(path = "/", method = "post", operation_id = "begin_upload")]
    async fn begin(&self, caller: Caller, body: Body<NewUpload>) -> Result<BegunUpload> {
        let NewUpload { filename, size_bytes, content_type, project_name, sha256 } = body.value;
        let size_bytes =
            u64::try_from(size_bytes).map_err(|_| ApiError::invalid("size_bytes", "must be at least 1"))?;
        intake::room(&self.app, caller.user).await?.admit(size_bytes)?;
        if sha256.as_ref().is_some_and(|digest| hex::decode(digest).is_err()) {
            return Err(ApiError::invalid("sha256", "must be hexadecimal"));
        }
        let announced = Announced {
            owner: caller.user,
            filename: intake::plain_filename(Some(&filename)),
            content_type,
            size_bytes,
            project_name,
            sha256: sha256.map(|digest| digest.to_ascii_lowercase()),
        };
        let upload = self.app.services.storage.uploads.begin(announced).await?;
        Ok(BegunUpload::Created(Json(self.object(upload, &caller).await?)))
    }

    /// See which parts are here
    #[oai(path = "/:upload_id", method = "get", operation_id = "get_upload")]
    async fn get(&self, caller: Caller, upload_id: Path<Uuid>) -> Result<Json<UploadObject>> {
        let upload = self.app.services.storage.uploads.find(caller.user, UploadId::from(upload_id.0)).await?;
        Ok(Json(self.object(upload, &caller).await?))
    }

    /// Send a part
    ///
    /// In any order, and again after a failure.
    #[oai(path = "/:upload_id/parts/:number", method = "put", operation_id = "put_upload_part")]
    async fn put_part(
        &self,
        access: Access,
        upload_id: Path<Uuid>,
        number: Path<u32>,
        request: &Request,
        body: RawBody,
    ) -> Result<Json<ReceivedPart>> {
        let (uploads, id) = (&self.app.services.storage.uploads, UploadId::from(upload_id.0));
        let upload = match access {
            Access::Owner(caller) => uploads.find(caller.user, id).await?,
            Access::Signed => uploads.find_signed(id).await?,
        };
        let number = number.0;
        let size = upload.size_of(number).map_err(|_| ApiError::not_found())?;
        if content_length(request).is_some_and(|length| length > size) {
            return Err(ApiError::too_large(size));
        }
        let reader = StreamReader::new(body.0.into_bytes_stream().map_err(|_| broken_off()));
        let part = uploads.put_part(&upload, number, reader).await.map_err(part_error)?;
        Ok(Json(ReceivedPart { number, size_bytes: part.size_bytes, sha256: part.sha256 }))
    }

    /// Make a file of the parts
    ///
    /// It goes on where the client does not wait for the answer: who asks again gets the same file, or 404 once the upload
    /// has become one.
    #[oai(path = "/:upload_id/complete", method = "post", operation_id = "complete_upload")]
    async fn complete(&self, caller: Caller, upload_id: Path<Uuid>) -> Result<CreatedFile> {
        let upload = self.app.services.storage.uploads.find(caller.user, UploadId::from(upload_id.0)).await?;
        let file = joining::file_of(&self.app, upload).await?;
        Ok(CreatedFile::Created(Json(FileObject::new(file, &caller.links, Utc::now()))))
    }

    /// Drop an upload
    #[oai(path = "/:upload_id", method = "delete", operation_id = "drop_upload")]
    async fn remove(&self, caller: Caller, upload_id: Path<Uuid>) -> Result<Done> {
        self.app.services.storage.uploads.remove(caller.user, UploadId::from(upload_id.0)).await?;
        Ok(Done::NoContent)
    }
}

impl UploadsApi {
    async fn object(&self, upload: Upload, caller: &Caller) -> Result<UploadObject> {
        let progress = self.app.services.storage.uploads.progress(&upload).await?;
        Ok(UploadObject::new(upload, progress, PartLinks { links: &caller.links, now: Utc::now() }))
    }
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the body broke off")
}

/// A body that broke off is the client's doing, whatever it looks like from below.
fn part_error(error: StorageError) -> ApiError {
    match error {
        StorageError::Internal(cause)
            if cause
                .downcast_ref()
                .is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::UnexpectedEof) =>
        {
            ApiError::invalid("body", "broke off")
        }
        other => other.into(),
    }
}
