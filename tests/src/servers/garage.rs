//! An S3 store that spreads over machines, here on this one: Garage. It is run, never linked, for its licence is the AGPL.

use super::{Account, S3, await_start, directory, free_port, spawn};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Credentials, Region};
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use tempfile::TempDir;

const REGION: &str = "us-east-1";

/// A store with the bucket and the keys of [`S3`], empty; killed when dropped.
pub struct Garage {
    port: u16,
    client: Client,
    child: Child,
    _directory: TempDir,
}

impl Garage {
    /// Names where the program is, if not on the path; `make torture` sets it.
    pub const PROGRAM: &str = "GARAGE";

    /// # Panics
    /// Where the program is absent.
    pub fn start() -> Self {
        let program = std::env::var(Self::PROGRAM).unwrap_or_else(|_| "garage".to_owned());
        let directory = directory("garage");
        let (port, configuration) = (free_port(), directory.path().join("garage.toml"));
        std::fs::write(&configuration, settings(directory.path(), port)).unwrap();
        let arguments = [
            format!("GARAGE_DEFAULT_ACCESS_KEY={}", S3::ACCESS_KEY),
            format!("GARAGE_DEFAULT_SECRET_KEY={}", S3::SECRET_KEY),
            format!("GARAGE_DEFAULT_BUCKET={}", S3::BUCKET),
            "RUST_LOG=warn".to_owned(),
            program,
            "-c".to_owned(),
            configuration.display().to_string(),
            "server".to_owned(),
            "--single-node".to_owned(),
            "--default-bucket".to_owned(),
        ];
        let log = directory.path().join("log");
        let child = spawn(Path::new("env"), &arguments, Account::Own, &log);
        await_start(&log, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, client: client(port), child, _directory: directory }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many objects have a name that starts so.
    pub async fn count(&self, prefix: &str) -> usize {
        let mut pages =
            self.client.list_objects_v2().bucket(S3::BUCKET).prefix(prefix).into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page.unwrap().contents().len();
        }
        count
    }

    /// How many uploads in parts, of keys that start so, are neither done nor dropped.
    pub fn multiparts(&self, prefix: &str) -> usize {
        let listed = self.client.list_multipart_uploads().bucket(S3::BUCKET).prefix(prefix).send();
        let listed = || tokio::runtime::Runtime::new().unwrap().block_on(listed).unwrap();
        std::thread::scope(|scope| scope.spawn(listed).join()).unwrap().uploads().len()
    }

    /// # Panics
    /// Where it is not there.
    pub async fn read(&self, key: &str) -> Vec<u8> {
        let object = self.client.get_object().bucket(S3::BUCKET).key(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(directory: &Path, port: u16) -> String {
    let (place, rpc, secret) = (directory.display(), free_port(), "5a".repeat(32));
    format!(
        r#"
        metadata_dir = "{place}/meta"
        data_dir = "{place}/data"
        db_engine = "sqlite"
        replication_factor = 1
        rpc_bind_addr = "127.0.0.1:{rpc}"
        rpc_public_addr = "127.0.0.1:{rpc}"
        rpc_secret = "{secret}"
        [s3_api]
        s3_region = "{REGION}"
        api_bind_addr = "127.0.0.1:{port}"
        "#
    )
}

fn client(port: u16) -> Client {
    let keys = Credentials::new(S3::ACCESS_KEY, S3::SECRET_KEY, None, None, "tests");
    let config = Builder::new()
        .behavior_version_latest()
        .region(Region::new(REGION))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .force_path_style(true)
        .credentials_provider(keys);
    Client::from_conf(config.build())
}
