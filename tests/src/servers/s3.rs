//! An S3 store: s3s, which speaks the protocol and checks every signature, over a directory; in this process, on a
//! thread of its own.

use super::directory;
use s3s::auth::SimpleAuth;
use s3s::checksum::ChecksumHasher;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::SystemTime;
use tempfile::TempDir;

/// A store with one bucket, empty. It dies with this process, and its directory goes when this is dropped.
pub struct S3 {
    directory: TempDir,
    port: u16,
    multiparts: Arc<Mutex<Multiparts>>,
}

impl S3 {
    pub const BUCKET: &str = "voxmill";
    // Of the shape that Garage asks for.
    pub const ACCESS_KEY: &str = "GK00112233445566778899aabb";
    pub const SECRET_KEY: &str = "5ec7e70f7e57500112233445566778899aabbccddeeff5ec7e70f7e575001122";

    /// In the names of objects for which the store knows no conditions, as many do not.
    pub const UNCONDITIONAL: &str = "unconditional";

    pub fn start() -> Self {
        let directory = directory("s3");
        std::fs::create_dir(directory.path().join(Self::BUCKET)).unwrap();
        let multiparts = Arc::new(Mutex::new(Multiparts::new()));
        let store = Store {
            files: FileSystem::new(directory.path()).unwrap(),
            root: directory.path().to_owned(),
            multiparts: multiparts.clone(),
            joining: tokio::sync::Mutex::default(),
        };
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY));
        let service = builder.build();
        let (started, port) = mpsc::channel();
        std::thread::spawn(move || serve(service, &started));
        Self { port: port.recv().unwrap(), directory, multiparts }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many uploads in parts, of keys that start so, are neither done nor dropped.
    pub fn multiparts(&self, prefix: &str) -> usize {
        let multiparts = self.multiparts.lock().unwrap_or_else(PoisonError::into_inner);
        multiparts.values().filter(|multipart| multipart.key.starts_with(prefix)).count()
    }

    /// Where the bytes of an object lie, for what no client can do to them.
    pub fn path(&self, key: &str) -> PathBuf {
        self.directory.path().join(Self::BUCKET).join(key)
    }
}

fn serve(service: S3Service, started: &mpsc::Sender<u16>) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        started.send(listener.local_addr().unwrap().port()).unwrap();
        let server = Arc::new(hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()));
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let (server, service) = (server.clone(), service.clone());
            tokio::spawn(async move {
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
}

/// Uploads in parts, by their names.
type Multiparts = BTreeMap<String, Multipart>;

struct Multipart {
    key: String,
    begun: SystemTime,
    /// Tags and sizes, by number.
    parts: BTreeMap<i32, (ETag, i64)>,
}

/// s3s-fs, and what it lacks. Of uploads in parts: it does not list them, forgets the tags of parts, and believes
/// whatever checksum comes with one. And one object that cannot be deleted keeps all the others.
struct Store {
    files: FileSystem,
    root: PathBuf,
    multiparts: Arc<Mutex<Multiparts>>,
    /// One is joined at a time, or s3s-fs trips over two at one.
    joining: tokio::sync::Mutex<()>,
}

impl Store {
    fn multipart<T>(&self, name: &str, look: impl FnOnce(&mut Multipart) -> T) -> S3Result<T> {
        let mut multiparts = self.multiparts.lock().unwrap_or_else(PoisonError::into_inner);
        multiparts.get_mut(name).map(look).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    fn end(&self, name: &str) {
        self.multiparts.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn note(&self, name: &str, number: i32, tag: Option<ETag>) -> S3Result<Checksum> {
        let path = self.root.join(format!(".upload_id-{name}.part-{number}"));
        let bytes = std::fs::read(path).map_err(|cause| s3_error!(cause, InternalError))?;
        let tag = tag.ok_or_else(|| s3_error!(InternalError))?;
        self.multipart(name, |multipart| multipart.parts.insert(number, (tag, bytes.len() as i64)))?;
        let mut hasher = ChecksumHasher { crc32: Some(Default::default()), ..Default::default() };
        hasher.update(&bytes);
        Ok(hasher.finalize())
    }
}

#[async_trait::async_trait]
impl s3s::S3 for Store {
    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        check_condition(&req.input.key, req.input.if_none_match.as_ref())?;
        self.files.put_object(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &req.input;
        let (kind, disposition) =
            (input.response_content_type.clone(), input.response_content_disposition.clone());
        let mut answer = self.files.get_object(req).await?;
        answer.output.content_type = kind.or(answer.output.content_type);
        answer.output.content_disposition = disposition.or(answer.output.content_disposition);
        Ok(answer)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut req = req;
        let is_stuck = |object: &ObjectIdentifier| self.root.join(S3::BUCKET).join(&object.key).is_dir();
        let objects = std::mem::take(&mut req.input.delete.objects);
        let (stuck, free): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_stuck);
        req.input.delete.objects = free;
        let mut answer = self.files.delete_objects(req).await?;
        let refused = |object: ObjectIdentifier| Error {
            key: Some(object.key),
            code: Some("AccessDenied".to_owned()),
            ..Error::default()
        };
        answer.output.errors = Some(stuck.into_iter().map(refused).collect());
        Ok(answer)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let multipart =
            Multipart { key: req.input.key.clone(), begun: SystemTime::now(), parts: BTreeMap::new() };
        let answer = self.files.create_multipart_upload(req).await?;
        let name = answer.output.upload_id.clone().ok_or_else(|| s3_error!(InternalError))?;
        self.multiparts.lock().unwrap_or_else(PoisonError::into_inner).insert(name, multipart);
        Ok(answer)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let (name, number) = (req.input.upload_id.clone(), req.input.part_number);
        let promised = req.input.checksum_crc32.clone();
        self.multipart(&name, |_| ())?;
        let mut answer = self.files.upload_part(req).await?;
        let found = self.note(&name, number, answer.output.e_tag.clone())?.checksum_crc32;
        if promised.is_some() && promised != found {
            return Err(s3_error!(BadDigest));
        }
        answer.output.checksum_crc32 = promised;
        Ok(answer)
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (name, number) = (req.input.upload_id.clone(), req.input.part_number);
        self.multipart(&name, |_| ())?;
        let answer = self.files.upload_part_copy(req).await?;
        let tag = answer.output.copy_part_result.as_ref().and_then(|copied| copied.e_tag.clone());
        self.note(&name, number, tag)?;
        Ok(answer)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let part = |(number, (tag, size)): (&i32, &(ETag, i64))| Part {
            part_number: Some(*number),
            e_tag: Some(tag.clone()),
            size: Some(*size),
            ..Part::default()
        };
        let parts =
            self.multipart(&req.input.upload_id, |multipart| multipart.parts.iter().map(part).collect())?;
        Ok(S3Response::new(ListPartsOutput { parts: Some(parts), ..ListPartsOutput::default() }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let multiparts = self.multiparts.lock().unwrap_or_else(PoisonError::into_inner);
        let uploads = multiparts.iter().filter(|(_, multipart)| multipart.key.starts_with(&prefix)).map(
            |(name, multipart)| MultipartUpload {
                key: Some(multipart.key.clone()),
                upload_id: Some(name.clone()),
                initiated: Some(multipart.begun.into()),
                ..MultipartUpload::default()
            },
        );
        let output = ListMultipartUploadsOutput { uploads: Some(uploads.collect()), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        check_condition(&req.input.key, req.input.if_none_match.as_ref())?;
        let _turn = self.joining.lock().await;
        let name = req.input.upload_id.clone();
        let parts = req.input.multipart_upload.as_ref().and_then(|upload| upload.parts.clone());
        let known = |multipart: &mut Multipart| {
            parts.unwrap_or_default().iter().all(|part| {
                let stored = part.part_number.and_then(|number| multipart.parts.get(&number));
                stored.is_some_and(|(tag, _)| part.e_tag.as_ref().map(ETag::value) == Some(tag.value()))
            })
        };
        if !self.multipart(&name, known)? {
            return Err(s3_error!(InvalidPart));
        }
        let answer = self.files.complete_multipart_upload(req).await?;
        self.end(&name);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let name = req.input.upload_id.clone();
        self.multipart(&name, |_| ())?;
        let answer = self.files.abort_multipart_upload(req).await?;
        self.end(&name);
        Ok(answer)
    }
}

/// Refuses a condition where the store shall know none.
fn check_condition(key: &str, condition: Option<&ETagCondition>) -> S3Result<()> {
    match condition {
        Some(_) if key.contains(S3::UNCONDITIONAL) => Err(s3_error!(NotImplemented)),
        Some(_) | None => Ok(()),
    }
}
