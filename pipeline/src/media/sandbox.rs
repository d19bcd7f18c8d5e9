//! The walls around a media child, put up before it opens its input. The limits are certain; the namespace, Landlock
//! and seccomp are as strong as the kernel allows, since a weaker kernel is no reason to refuse all work. What is
//! missing is told, for the operator to know.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::UnshareFlags;

use super::error::{Context, MediaError};
use super::operation::{Assignment, Limits, Walls};
use super::system_calls;

/// What the font library reads to find letters.
const FONTS: [&str; 5] = [
    "/etc/fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/fontconfig",
    "/var/cache/fontconfig",
];

/// Shuts the calling process in. Must be called while it has one thread: a namespace and Landlock bind the
/// caller and the threads that it starts later.
pub(super) fn enter(assignment: &Assignment) -> Result<Walls, MediaError> {
    limit(&assignment.limits)?;
    let has_left_network = has_left_network();
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| MediaError::failed(format!("give up new privileges: {error}")))?;
    let landlock =
        confine(assignment).map_err(|error| MediaError::failed(format!("enter the sandbox: {error}")))?;
    // Last, since it forbids what the others need.
    let system_calls = system_calls::refuse().is_ok();
    Ok(Walls {
        files: landlock != RulesetStatus::NotEnforced,
        network: has_left_network || system_calls,
        system_calls,
    })
}

fn limit(limits: &Limits) -> Result<(), MediaError> {
    let cpu = limits.cpu.as_secs().max(1);
    // At the soft limit SIGXCPU ends the child with a reason that the parent can read; the hard one is for a
    // decoder that was taken over and catches the signal.
    let bounds = [
        (Resource::As, limits.memory_bytes, limits.memory_bytes),
        (Resource::Cpu, cpu, cpu + 5),
        (Resource::Fsize, limits.output_bytes, limits.output_bytes),
        (Resource::Nofile, 64, 64),
        (Resource::Core, 0, 0),
    ];
    for (resource, soft, hard) in bounds {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
            .map_err(std::io::Error::from)
            .context("limit the media child")?;
    }
    Ok(())
}

/// False where the administrator forbids user namespaces, as in most containers.
#[expect(unsafe_code, reason = "unsharing file descriptors would be unsound, and shares this function")]
fn has_left_network() -> bool {
    let network = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
    // SAFETY: file descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(network) }.is_ok()
}

fn confine(assignment: &Assignment) -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V6;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let read_file = AccessFs::ReadFile;
    for input in assignment.operation.inputs() {
        ruleset = allow(ruleset, input, read_file.into())?;
    }
    if assignment.operation.draws_text() {
        for path in FONTS {
            ruleset = allow(ruleset, Path::new(path), read_file | AccessFs::ReadDir)?;
        }
    }
    if let Some(directory) = assignment.operation.output().and_then(Path::parent) {
        let write = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
        ruleset = allow(ruleset, directory, write | read_file)?;
    }
    for device in ["/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo"] {
        ruleset = allow(ruleset, Path::new(device), read_file.into())?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// A path that does not exist grants nothing.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(file) => ruleset.add_rule(PathBeneath::new(file, access)),
        Err(_absent) => Ok(ruleset),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io, thread};

    use super::*;
    use crate::media::operation::{Operation, PcmDecoding};

    /// Landlock binds the thread that asks for it, and ends with it.
    #[test]
    fn an_input_can_be_read_and_the_room_alone_be_written() {
        let job = tempfile::tempdir().unwrap();
        let (input, room) = (job.path().join("input"), job.path().join("room"));
        fs::write(&input, "sound").unwrap();
        fs::create_dir(&room).unwrap();
        let decoding = PcmDecoding { input: input.clone(), output: room.join("out"), sample_rate: 16_000 };
        let assignment = Assignment { operation: Operation::DecodePcm(decoding), limits: Limits::default() };
        let confined = thread::spawn(move || {
            if confine(&assignment).unwrap() == RulesetStatus::NotEnforced {
                return None;
            }
            assert_eq!(fs::read_to_string(&input).unwrap(), "sound");
            fs::write(room.join("out"), "text").unwrap();
            let link = room.join("link");
            Some([
                ("an input changed", fs::write(&input, "noise").err()),
                ("an input removed", fs::remove_file(&input).err()),
                ("a file beside the inputs", fs::write(input.with_file_name("new"), "x").err()),
                ("a link", std::os::unix::fs::symlink("/etc/passwd", &link).err()),
                ("another file of this user", fs::read("/etc/passwd").err()),
            ])
        });
        let Some(attempts) = confined.join().unwrap() else {
            return eprintln!("skipped: this kernel has no Landlock");
        };
        for (what, error) in attempts {
            assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::PermissionDenied), "{what}");
        }
    }
}
