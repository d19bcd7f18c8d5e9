use super::{Config, Overrides, Work};
use clap::Parser as _;
use pipeline::parameters::JobKind;
use std::io::Write as _;
use storage::users::Role;

fn read(file: &str, variables: &[(&str, &str)]) -> anyhow::Result<Config> {
    let mut written = tempfile::NamedTempFile::new().unwrap();
    written.write_all(file.as_bytes()).unwrap();
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::read(Some(written.path()), variables)
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = read(
        "bind = '1.2.3.4:5'\nquota_bytes = 7\n[slots]\ntranscribe = 3\n",
        &[("VOXMILL_BIND", "0.0.0.0:80"), ("VOXMILL_CORS_ORIGINS", "https://a.example, https://b.example")],
    )
    .unwrap();
    assert_eq!(config.bind, "0.0.0.0:80");
    assert_eq!(config.quota_bytes, 7);
    assert_eq!(config.slots[&JobKind::Transcribe], 3);
    assert_eq!(config.cors_origins, ["https://a.example", "https://b.example"]);
    let slots = read("", &[("VOXMILL_SLOTS", "clone-voice=2, transcribe=4")]).unwrap().slots;
    assert_eq!((slots[&JobKind::CloneVoice], slots[&JobKind::Transcribe]), (2, 4));
    assert_eq!((slots.len(), slots[&JobKind::ExtractAudio]), (JobKind::ALL.len(), 1));
    let taken = read("", &[("VOXMILL_QUEUES", "transcribe"), ("VOXMILL_SLOTS", "transcribe=4")]).unwrap();
    assert_eq!(taken.slots().into_iter().collect::<Vec<_>>(), [(JobKind::Transcribe, 4)]);
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    let refused = |file, variables: &[(&str, &str)]| format!("{:#}", read(file, variables).unwrap_err());
    assert!(refused("bindd = 'x'", &[]).contains("bindd"));
    assert!(refused("", &[("VOXMILL_BINDD", "x")]).contains("VOXMILL_BINDD"));
    assert!(refused("", &[("VOXMILL_QUOTA_BYTES", "many")]).contains("VOXMILL_QUOTA_BYTES"));
    assert!(refused("models_strict = 'maybe'", &[]).contains("models_strict"));
    assert!(refused("currency = 'dollars'", &[]).contains("currency"));
    assert!(refused("s3_endpoint = 'http://a:1'", &[]).contains("s3_bucket"));
    assert!(refused("s3_bucket = 'A Bucket'", &[]).contains("s3_bucket"));
    for more in ["access_key = 'k'", "endpoint = 's3.example'", "endpoint = 'http://k:s@a'", "prefix = 'a b'"]
    {
        let key = more.split(' ').next().unwrap();
        let config = format!("s3_bucket = 'media'\ns3_{more}");
        let error = format!("{:#}", read(&config, &[]).unwrap_err());
        assert!(error.contains(&format!("s3_{key}")), "{error}");
    }
    assert!(refused("call_price_per_minute = -1.0", &[]).contains("call_price_per_minute"));
    assert!(refused("", &[("VOXMILL_CALL_PRICE_PER_MINUTE", "nan")]).contains("call_price_per_minute"));
    assert!(refused("media_memory_bytes = 1000", &[]).contains("media_memory_bytes"));
    assert!(refused("slots = { dance = 1 }", &[]).contains("dance"));
    assert!(refused("", &[("VOXMILL_SLOTS", "transcribe=0")]).contains("transcribe must be at least 1"));
    assert!(refused("", &[("VOXMILL_DATABASE_URL", "mysql://localhost/voxmill")]).contains("SQLite"));
    assert!(refused("", &[("VOXMILL_QUEUES", "dance")]).contains("dance"));
    assert!(refused("", &[("VOXMILL_DEVICE", "abacus")]).contains("cuda:0"));
    assert!(refused("", &[("VOXMILL_DEVICE", "cuda:1")]).contains("without CUDA"));
    let refusal = refused("", &[("VOXMILL_REDIS_URL", "http://:geheim@localhost")]);
    assert!(refusal.contains("redis_url") && !refusal.contains("geheim"), "{refusal}");
    assert!(refused("redis_prefix = 'a b'", &[]).contains("redis_prefix"));
    assert!(refused("otlp_endpoint = 'collector:4318'", &[]).contains("otlp_endpoint"));
    assert!(refused("", &[("VOXMILL_OTLP_SAMPLE_RATIO", "1.5")]).contains("otlp_sample_ratio"));
    assert!(refused("livekit_api_key = 'key'", &[]).contains("livekit_api_secret"));
    assert!(refused("", &[("VOXMILL_ROLE_RATE_LIMITS", "king=5")]).contains("king"));
    assert!(refused("", &[("VOXMILL_ROLE_RATE_LIMITS", "admin=0")]).contains("configuration"));
    let smtp = ("VOXMILL_SMTP_URL", "smtp://mail.example");
    assert!(refused("", &[smtp]).contains("mail_from"));
    assert!(refused("mail_from = 'a@example.com'", &[smtp]).contains("public_url"));
    assert!(refused("rate_limits = 'maybe'", &[]).contains("rate_limits"));
    assert!(refused("", &[("VOXMILL_RATE_LIMIT_AUTH", "many")]).contains("rate_limit_auth"));
    assert!(refused("", &[("VOXMILL_TRUSTED_PROXIES", "10.0.0.0/8, lb")]).contains("lb"));
    assert!(refused("", &[("VOXMILL_WEBHOOK_ALLOW", "10.0.0.0/8, lan")]).contains("lan"));
}

#[test]
fn rates_hold_unless_they_are_off() {
    let auth =
        |variables: &[(&str, &str)]| read("", variables).unwrap().rates().unwrap().map(|rates| rates.auth);
    assert_eq!(auth(&[]), Some("5/min".parse().unwrap()));
    assert_eq!(auth(&[("VOXMILL_RATE_LIMIT_AUTH", "7/s")]), Some("7/s".parse().unwrap()));
    assert_eq!(auth(&[("VOXMILL_RATE_LIMITS", "off")]), None);
    let roles =
        read("", &[("VOXMILL_ROLE_RATE_LIMITS", "admin=1000")]).unwrap().rates().unwrap().unwrap().roles;
    assert_eq!(roles, [(Role::Admin, "1000/min".parse().unwrap())]);
}

#[test]
fn a_secret_may_lie_in_a_file() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"12345\n").unwrap();
    let path = secret.path().to_str().unwrap();
    assert_eq!(read("", &[("VOXMILL_TOKEN_SECRET_FILE", path)]).unwrap().token_secret, "12345");
    assert!(read("", &[("VOXMILL_BIND_FILE", path)]).is_err());
    std::fs::write(path, "redis://:pass@localhost\n").unwrap();
    let redis = read("", &[("VOXMILL_REDIS_URL_FILE", path)]).unwrap().redis().unwrap();
    assert_eq!((redis.url.as_str(), redis.prefix.as_str()), ("redis://:pass@localhost", "voxmill"));
    assert!(!format!("{redis:?}").contains("pass"));
    assert!(read("", &[]).unwrap().redis().is_none());
}

#[test]
fn what_a_worker_takes_is_told_on_its_command_line() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        overrides: Overrides,
        #[command(flatten)]
        work: Work,
    }
    let told = "worker --queues transcribe,clone-voice --slots transcribe=2 --device cpu --bind 1.2.3.4:5";
    let line = Line::parse_from(told.split(' '));
    let config = Config::load_for_work(&line.overrides, &line.work).unwrap();
    let slots: Vec<_> = config.slots().into_iter().collect();
    assert_eq!(slots, [(JobKind::Transcribe, 2), (JobKind::CloneVoice, 1)]);
    assert_eq!((config.device.as_str(), config.bind.as_str()), ("cpu", "1.2.3.4:5"));
    for refused in ["worker --queues dance", "worker --slots transcribe=0", "worker --device abacus"] {
        let line = Line::parse_from(refused.split(' '));
        assert!(Config::load_for_work(&line.overrides, &line.work).is_err(), "{refused}");
    }
}
