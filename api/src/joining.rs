//! Uploads in parts that become files. A large one takes longer than proxies and clients wait, so the work goes on without
//! whoever asked for it, and whoever asks again meanwhile gets what comes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use storage::files::File;
use storage::ids::UploadId;
use storage::uploads::Upload;
use tracing::Instrument;

use crate::app::App;
use crate::error::{ApiError, Result};
use crate::intake::{self, Arrival};

/// What is under way in this process.
#[derive(Default)]
pub(crate) struct Joining(Mutex<HashMap<UploadId, Joined>>);

type Joined = Shared<BoxFuture<'static, Result<File>>>;

/// The file that the upload becomes. `upload` is the caller's proof that it is theirs.
pub(crate) async fn file_of(app: &Arc<App>, upload: Upload) -> Result<File> {
    let joined = {
        let mut under_way = app.joining.lock();
        match under_way.get(&upload.id) {
            Some(joined) => joined.clone(),
            None => {
                let id = upload.id;
                let work = tokio::spawn(join(app.clone(), upload).in_current_span());
                let joined = async { work.await.map_err(ApiError::internal)? }.boxed().shared();
                under_way.insert(id, joined.clone());
                joined
            }
        }
    };
    joined.await
}

async fn join(app: Arc<App>, upload: Upload) -> Result<File> {
    let _under_way = UnderWay { app: &app, upload: upload.id };
    let (uploads, id) = (&app.services.storage.uploads, upload.id);
    let (staged, upload) = uploads.assemble(upload.owner, id).await?;
    let Upload { owner, filename, project_name, .. } = upload;
    let arrival = Arrival { owner, filename, project_name, staged, upload: Some(id) };
    let file = intake::accept(&app, arrival).await?;
    if let Err(error) = uploads.remove_parts(id).await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "the parts of a finished upload are left to sweep");
    }
    Ok(file)
}

impl Joining {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Joined>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the upload when the work on it ends, however that be.
struct UnderWay<'a> {
    app: &'a App,
    upload: UploadId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.app.joining.lock().remove(&self.upload);
    }
}
