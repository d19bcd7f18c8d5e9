//! Access tokens: JSON Web Tokens of one algorithm, issuer, audience and type (RFC 8725), each bound to a login, so that
//! revoking the login ends it at once.

use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use storage::ids::{LoginId, UserId};

use crate::error::ApiError;

/// Seconds that an access token lives.
pub(crate) const ACCESS_SECONDS: i64 = 3600;
/// Seconds that one lives whose document promises a day.
pub(crate) const DAY_SECONDS: i64 = 24 * 3600;

const ISSUER: &str = "voxmill";
const AUDIENCE: &str = "voxmill-api";
/// RFC 9068: says that this is an access token, so that no other kind of token passes for one.
const TYPE: &str = "at+jwt";
/// Seconds by which the clocks of two API processes may differ.
const LEEWAY: u64 = 5;

pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// Whom an access token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) user: UserId,
    pub(crate) login: LoginId,
}

/// Why a token speaks for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// It was ours.
    Expired,
    /// It is none of ours.
    Invalid,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: LoginId,
    iat: i64,
    exp: i64,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY;
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// A token that lives so many seconds from `now`.
    pub(crate) fn issue(
        &self,
        subject: Subject,
        seconds: i64,
        now: DateTime<Utc>,
    ) -> Result<String, ApiError> {
        let header = Header { typ: Some(TYPE.to_owned()), ..Header::new(Algorithm::HS256) };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: subject.user,
            sid: subject.login,
            iat: now.timestamp(),
            exp: now.timestamp() + seconds,
        };
        encode(&header, &claims, &self.encoding).map_err(ApiError::internal)
    }

    /// Whom `token` speaks for. Whether its login is still alive is not in the token.
    pub(crate) fn verify(&self, token: &str) -> Result<Subject, Rejection> {
        // The signature is checked first, so only a token of ours can have run out.
        let decoded = decode::<Claims>(token, &self.decoding, &self.validation).map_err(|error| {
            let expired = matches!(error.kind(), ErrorKind::ExpiredSignature);
            if expired { Rejection::Expired } else { Rejection::Invalid }
        })?;
        match decoded.header.typ.as_deref() == Some(TYPE) {
            true => Ok(Subject { user: decoded.claims.sub, login: decoded.claims.sid }),
            false => Err(Rejection::Invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};
    use storage::ids::{LoginId, UserId};

    use super::{ACCESS_SECONDS, Rejection, Subject, TYPE, Tokens};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn subject() -> Subject {
        Subject { user: UserId::new(), login: LoginId::new() }
    }

    fn claims() -> Value {
        let Subject { user, login } = subject();
        json!({"iss": "voxmill", "aud": "voxmill-api", "sub": user, "sid": login, "iat": 0,
            "exp": Utc::now().timestamp() + 60})
    }

    #[track_caller]
    fn refused(header: &Header, claims: &Value, secret: &[u8]) {
        let token = encode(header, claims, &EncodingKey::from_secret(secret)).unwrap();
        assert!(Tokens::new(SECRET).verify(&token).is_err());
    }

    fn header() -> Header {
        Header { typ: Some(TYPE.into()), ..Header::new(Algorithm::HS256) }
    }

    #[test]
    fn a_token_says_whom_it_speaks_for() {
        let tokens = Tokens::new(SECRET);
        let subject = subject();
        let token = tokens.issue(subject, ACCESS_SECONDS, Utc::now()).unwrap();
        assert_eq!(tokens.verify(&token), Ok(subject));
    }

    #[test]
    fn a_token_runs_out() {
        let tokens = Tokens::new(SECRET);
        let issued = |ago| tokens.issue(subject(), 3600, Utc::now() - TimeDelta::seconds(ago)).unwrap();
        assert!(tokens.verify(&issued(3590)).is_ok());
        assert_eq!(tokens.verify(&issued(3610)), Err(Rejection::Expired));
    }

    #[test]
    fn other_tokens_are_refused() {
        let token = encode(&header(), &claims(), &EncodingKey::from_secret(SECRET)).unwrap();
        assert!(Tokens::new(SECRET).verify(&token).is_ok());

        refused(&header(), &claims(), b"another secret of thirty-two byte");
        refused(&Header { typ: Some("JWT".into()), ..header() }, &claims(), SECRET);
        refused(&Header { alg: Algorithm::HS512, ..header() }, &claims(), SECRET);
        for (name, value) in
            [("iss", json!("other")), ("aud", json!("other")), ("exp", json!(1)), ("exp", Value::Null)]
        {
            let mut claims = claims();
            claims[name] = value;
            refused(&header(), &claims, SECRET);
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        use base64::Engine;
        let part = |json: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.", part(json!({"alg": "none", "typ": "at+jwt"})), part(claims()));
        assert!(Tokens::new(SECRET).verify(&token).is_err());
    }
}
