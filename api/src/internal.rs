//! For our own services, which ask whose session a browser has sent them. For everybody else nothing is here.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use crate::app::App;
use crate::dto::users::{InvalidSession, ValidSession};
use crate::error::{ApiError, Result};
use crate::tags::Tag;
use crate::{peer, session_cookie};

pub(crate) struct InternalApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Validation {
    /// Whose session it is
    #[oai(status = 200)]
    Valid(Json<ValidSession>),
    /// It is nobody's session, or has ended
    #[oai(status = 401)]
    Invalid(Json<InvalidSession>),
}

#[OpenApi(prefix_path = "/api/internal", tag = "Tag::Operations")]
impl InternalApi {
    /// See whose session a cookie is
    ///
    /// For callers on the same machine, and for others that send the key of the configuration.
    #[oai(path = "/validate-session", method = "post", operation_id = "validate_session")]
    async fn validate_session(
        &self,
        request: &Request,
        #[oai(name = "X-Internal-Key")] key: Header<Option<String>>,
    ) -> Result<Validation> {
        if !self.is_ours(request, key.0.as_deref()) {
            return Err(ApiError::not_found());
        }
        let storage = &self.app.services.storage;
        let user = match session_cookie::sent(request) {
            Some(session) => storage.logins.session(session).await?,
            None => None,
        };
        let Some((user, _)) = user else {
            return Ok(Validation::Invalid(Json(InvalidSession { valid: false })));
        };
        let preferences = storage.users.preferences(user).await?;
        let user = storage.users.get(user).await?;
        Ok(Validation::Valid(Json(ValidSession {
            valid: true,
            user_id: user.id.as_uuid(),
            email: user.email,
            display_name: user.display_name,
            preferences: preferences.into(),
        })))
    }
}

impl InternalApi {
    fn is_ours(&self, request: &Request, key: Option<&str>) -> bool {
        let configured = self.app.services.config.internal_key.as_deref();
        let knows_key = configured.zip(key).is_some_and(|(configured, key)| peer::is_secret(key, configured));
        knows_key || peer::is_this_machine(request)
    }
}
