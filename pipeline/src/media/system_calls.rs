//! The system calls that a media child is refused: whatever opens a connection, starts a program, or reaches into
//! another process. Other walls stand or fall with the kernel's version and the administrator's settings; this one
//! needs only a kernel with seccomp, which those of containers are.

use std::io;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter, sock_fprog,
};

/// Refused on every processor. A refused call fails with "operation not permitted", so that libraries which only try
/// (a name service, say) go on without.
const REFUSED: &[c_long] = &[
    // Connections, the ring that can open some unseen, and the networks of others.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_io_uring_setup,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes, and a way out of the group that is killed with this one.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Files that may only be read: older versions of Landlock do not cover these.
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    // The tree of files.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // Parts of the kernel that only an attack would use.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

/// The same number everywhere, as of all calls since 424.
const FCHMODAT2: c_long = 452;

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// The kernel's name of the processor that this program was built for (`linux/audit.h`); numbers mean other calls on
/// another one, so a process can be of several.
#[cfg(target_arch = "x86_64")]
const PROCESSOR: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const PROCESSOR: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const PROCESSOR: Option<u32> = None;

/// Numbers from here on are the calls of x86-64 once more, in the guise of x32.
const FIRST_OF_X32: u32 = 0x4000_0000;

/// Binds the calling thread and those that it starts, for good. They must have given up new privileges.
///
/// Errors: those of the kernel, and `Unsupported` on a processor that no filter is written for.
#[expect(unsafe_code, reason = "the filter is handed to the kernel by address")]
pub(super) fn refuse() -> io::Result<()> {
    let processor = PROCESSOR.ok_or(io::ErrorKind::Unsupported)?;
    let mut filter = filter(processor);
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and the instructions that it points to live through the call, which copies them.
    let outcome = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel runs at each call, over `struct seccomp_data`: the number, then the processor, then the arguments.
fn filter(processor: u32) -> Vec<sock_filter> {
    const NUMBER: u32 = 0;
    const PROCESSOR: u32 = 4;
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let mut filter = vec![
        load(PROCESSOR),
        compare(BPF_JEQ, processor, Then::SkipNext),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        compare(BPF_JGE, FIRST_OF_X32, Then::GoOn),
        give(libc::SECCOMP_RET_KILL_PROCESS),
    ];
    for number in REFUSED.iter().chain(REFUSED_HERE) {
        filter.extend([compare(BPF_JEQ, *number as u32, Then::GoOn), give(refused)]);
    }
    filter.push(give(libc::SECCOMP_RET_ALLOW));
    filter
}

/// Where a comparison that holds leads; one that does not leads to the other place.
enum Then {
    GoOn,
    SkipNext,
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn compare(how: u32, number: u32, then: Then) -> sock_filter {
    let (jt, jf) = match then {
        Then::GoOn => (0, 1),
        Then::SkipNext => (1, 0),
    };
    sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt, jf, k: number }
}

fn give(verdict: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: verdict }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::{fs, io, thread};

    use super::*;

    /// The filter binds the thread that asks for it, and ends with it.
    #[test]
    fn no_connection_is_opened_and_no_program_started() {
        let attempts = thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            refuse().unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            let rights = file.path().metadata().unwrap().permissions();
            [
                ("TCP", TcpListener::bind("127.0.0.1:0").err()),
                ("UDP", UdpSocket::bind("127.0.0.1:0").err()),
                ("a local connection", UnixStream::pair().err()),
                ("a program", Command::new("/bin/true").status().err()),
                ("rights", fs::set_permissions(file.path(), rights).err()),
            ]
        });
        for (what, error) in attempts.join().unwrap() {
            assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::PermissionDenied), "{what}");
        }
    }

    #[test]
    fn threads_files_and_memory_go_on() {
        let works = thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            refuse().unwrap();
            let file = tempfile::tempfile().unwrap();
            file.set_len(1 << 20).unwrap();
            thread::spawn(|| vec![1_u8; 64 << 20].len()).join().unwrap()
        });
        assert_eq!(works.join().unwrap(), 64 << 20);
    }
}
