//! Tokens that open nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;
use tests::user::User;

/// What the server of the test signs with.
pub(super) const SECRET: &str = "a token secret that the test knows";

/// Values of the header `Authorization`, each with a name.
pub(super) async fn wrong(user: &User) -> Vec<(&'static str, String)> {
    let claims = claims(&user.token);
    let header = json!({"typ": "at+jwt", "alg": "HS256"});
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let [head, body, signature] = parts(&user.token);
    let refresh = user.log_in().await["refresh_token"].as_str().unwrap().to_owned();
    // Signed as it should be, it opens: what is refused below is refused for what is wrong with it.
    user.with_token(&signed(&header, &claims, SECRET)).get("/auth/me").await.expect(StatusCode::OK);
    let tokens = [
        ("an expired token", signed(&header, &with("exp", json!(1_000_000_000)), SECRET)),
        ("a token for others", signed(&header, &with("aud", json!("others")), SECRET)),
        (
            "a token of another user",
            format!("{head}.{}.{signature}", encoded(&with("sub", json!(uuid::Uuid::new_v4())))),
        ),
        ("another's signature", signed(&header, &claims, "another secret of thirty-two bytes")),
        ("a token of another type", signed(&json!({"typ": "JWT", "alg": "HS256"}), &claims, SECRET)),
        ("no algorithm", format!("{}.{body}.", encoded(&json!({"typ": "at+jwt", "alg": "none"})))),
        (
            "no algorithm, in capitals",
            format!("{}.{body}.{signature}", encoded(&json!({"typ": "at+jwt", "alg": "NONE"}))),
        ),
        ("a refresh token", refresh),
        ("half a token", format!("{head}.{body}")),
        ("no key of ours", "vx_0000000000000000".to_owned()),
        ("nonsense", "nonsense".to_owned()),
        ("nothing", String::new()),
    ];
    let mut values: Vec<_> =
        tokens.into_iter().map(|(name, token)| (name, format!("Bearer {token}"))).collect();
    values.push(("another scheme", "Basic YWRhOnBhc3N3b3Jk".to_owned()));
    values
}

fn claims(token: &str) -> Value {
    let [_, body, _] = parts(token);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
