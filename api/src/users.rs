//! The profile of the user who is logged in.

use std::sync::Arc;

use pipeline::parameters::Invalid;
use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use storage::audit::EventKind;
use storage::users::{Name, NewPassword, UserChange};

use crate::accounts::{self, normal_email};
use crate::app::App;
use crate::body::Body;
use crate::caller::{Caller, Credential};
use crate::cookie_auth::{blank_name, by_field, short_password, wrong_email};
use crate::dto::users::{History, Message, PasswordChange, Preferences, Profile, ProfileChange};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// Longest topic, in characters.
const LONGEST_TOPIC: usize = 200;
/// Conversations of one page where the client does not say.
const HISTORY_PAGE: u64 = 20;

pub(crate) struct UsersApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/api/users", tag = "Tag::Users")]
impl UsersApi {
    /// Get the caller's profile
    #[oai(path = "/profile", method = "get", operation_id = "get_profile")]
    async fn profile(&self, caller: Caller) -> Result<Json<Profile>> {
        let users = &self.app.services.storage.users;
        let user = users.get(caller.user).await?;
        let preferences = users.preferences(caller.user).await?;
        Ok(Json(Profile::new(user, preferences)))
    }

    /// Change the caller's name or address
    #[oai(path = "/profile", method = "patch", operation_id = "update_profile")]
    async fn update_profile(
        &self,
        caller: Caller,
        body: Body<ProfileChange>,
        request: &Request,
    ) -> Result<Json<Profile>> {
        let ProfileChange { display_name, email } = body.value;
        let mut faults: Vec<_> = display_name.as_deref().and_then(blank_name).into_iter().collect();
        let email = email.map(|email| normal_email(&email).ok_or_else(wrong_email));
        let email = email.transpose().unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        if !faults.is_empty() {
            return Err(ApiError::invalid_fields(faults));
        }
        let users = &self.app.services.storage.users;
        let changes_email = email.is_some();
        let change = UserChange { email, name: display_name.as_deref().map(Name::full) };
        let user = users.change(caller.user, change).await.map_err(by_field)?;
        if changes_email {
            self.app.record(request, EventKind::EmailChanged, Some(caller.user)).await?;
        }
        let preferences = users.preferences(caller.user).await?;
        Ok(Json(Profile::new(user, preferences)))
    }

    /// Replace the caller's preferences
    #[oai(path = "/preferences", method = "put", operation_id = "replace_preferences")]
    async fn replace_preferences(
        &self,
        caller: Caller,
        body: Body<Preferences>,
    ) -> Result<Json<Preferences>> {
        check_preferences(&body.value)?;
        let preferences = body.value.into();
        self.app.services.storage.users.set_preferences(caller.user, &preferences).await?;
        Ok(Json(preferences.into()))
    }

    /// Change the caller's password
    ///
    /// Ends every other login at once.
    #[oai(path = "/change-password", method = "post", operation_id = "change_password")]
    async fn change_password(
        &self,
        caller: Caller,
        body: Body<PasswordChange>,
        request: &Request,
    ) -> Result<Json<Message>> {
        let PasswordChange { current_password, new_password } = body.value;
        let user = accounts::confirm(&self.app, caller.user, current_password).await?;
        let user = user.ok_or_else(wrong_password)?;
        if let Some(fault) = short_password("new_password", &new_password) {
            return Err(fault.into());
        }
        let new = NewPassword {
            old_hash: user.password_hash,
            new_hash: self.app.passwords.hash(new_password).await?,
            keep: match caller.credential {
                Credential::Login(login) => Some(login),
                Credential::ApiKey(_) => None,
            },
        };
        // Somebody else may have changed it meanwhile.
        if !self.app.services.storage.users.change_password(caller.user, new).await? {
            return Err(wrong_password());
        }
        self.app.record(request, EventKind::PasswordChanged, Some(caller.user)).await?;
        Ok(Json(Message { message: "Password changed successfully".to_owned() }))
    }

    /// List the caller's conversations, newest first
    #[oai(path = "/history", method = "get", operation_id = "list_history")]
    async fn history(
        &self,
        _caller: Caller,
        /// Items of one page; 20 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// Items to pass over.
        #[oai(validator(minimum(value = "0"), maximum(value = "1000000000")))]
        offset: Query<Option<u64>>,
    ) -> Result<Json<History>> {
        let (limit, offset) = (limit.0.unwrap_or(HISTORY_PAGE), offset.0.unwrap_or(0));
        let previous = offset.saturating_sub(limit);
        let previous = (offset > 0).then(|| format!("/api/users/history?limit={limit}&offset={previous}"));
        // Conversations begin with the sessions of voice agents, of which there are none yet.
        Ok(Json(History { count: 0, next: None, previous, results: vec![] }))
    }
}

fn check_preferences(preferences: &Preferences) -> Result<()> {
    let language = &preferences.preferred_language;
    if !language.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(ApiError::invalid("preferred_language", "must be an ISO 639-1 code such as en"));
    }
    match preferences.favorite_topics.iter().all(|topic| topic.chars().count() <= LONGEST_TOPIC) {
        true => Ok(()),
        false => Err(ApiError::invalid(
            "favorite_topics",
            format!("each must be at most {LONGEST_TOPIC} characters"),
        )),
    }
}

fn wrong_password() -> ApiError {
    Invalid::new("current_password", "Current password is incorrect.").into()
}
