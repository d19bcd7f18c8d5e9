//! Clients that are generated from the OpenAPI document compile, and get through a flow of each surface.

use std::process::Command;
use tests::project_root;
use tests::server::Server;

/// With which the tokens for live rooms are signed, and verified by the library of its server.
const LIVEKIT: [(&str, &str); 2] =
    [("VOXMILL_LIVEKIT_API_KEY", "key"), ("VOXMILL_LIVEKIT_API_SECRET", "a secret of thirty-two bytes long")];

#[test]
fn generated_clients_compile_and_get_through_every_surface() {
    let server = Server::start_with(&LIVEKIT);
    let run = project_root().join("tests/clients/run.sh");
    let done = Command::new(run).arg(&server.url).envs(LIVEKIT).output().unwrap();
    let said = [&done.stdout[..], &done.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(done.status.success(), "{said}");
    for language in ["typescript", "python"] {
        let flows = said.lines().filter(|line| line.starts_with(language) && line.ends_with(" went through"));
        assert_eq!(flows.count(), 5, "{said}");
    }
}
